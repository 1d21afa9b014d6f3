// What is dragged over from another page is often no file, only its address, and Gradio passes over it in silence.
// `element` is where to say so, `field` names what it is dropped on.
for (const name of ['dragover', 'drop', 'click', 'change']) document.addEventListener(name, e => {
    if (!e.target.closest(field)) return;
    if (name !== 'dragover') element.querySelector('.dropped')?.remove();
    if (!e.dataTransfer) return;
    e.preventDefault();
    if (name === 'dragover' || e.dataTransfer.files.length) return;
    const what = e.dataTransfer.types.includes('text/uri-list') ? 'That is an address, not a picture.' : 'That is not a picture.';
    const said = Object.assign(document.createElement('p'), {className: 'dropped', role: 'alert'});
    said.textContent = `${what} Save the picture first, then drop the file here.`;
    element.prepend(said);
}, true);
