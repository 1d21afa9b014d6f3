// What the browser does with an answer. Gradio gives `element`, where the answer is, `trigger`, which sends an event
// to Python, and `watch`, which tells of a new answer.
const find = s => element.querySelector(s), limit = v => Math.min(1, Math.max(0, v));
const steps = {ArrowLeft: [-.02, 0], ArrowRight: [.02, 0], ArrowUp: [0, -.02], ArrowDown: [0, .02]};
const smallest = .03; // share of the photo; what is smaller was a click
let box = null, from = null, drawing = false;

const show = b => {
    box = b;
    find('.box').hidden = !b;
    if (b) find('.box').style.inset = `${b[1]*100}% ${(1-b[2])*100}% ${(1-b[3])*100}% ${b[0]*100}%`;
};
const draw = on => {
    drawing = on;
    find('figure').classList.toggle('drawing', on);
    show(on ? [.25, .25, .75, .75] : null);
};
const at = e => {
    const r = find('figure').getBoundingClientRect();
    return [limit((e.clientX-r.left)/r.width), limit((e.clientY-r.top)/r.height)];
};

element.addEventListener('input', e => {
    if (e.target.name === 'strength') element.style.setProperty('--strength', e.target.value/100);
});
element.addEventListener('submit', e => e.preventDefault());
element.addEventListener('click', e => {
    if (e.target.name === 'whole') trigger('whole');
    if (e.target.name === 'draw') { draw(true); find('.box').focus(); }
});
element.addEventListener('pointerdown', e => {
    if (!e.target.closest('figure') || !(drawing || e.pointerType === 'mouse') || e.button) return;
    e.preventDefault();
    from = at(e);
    find('figure').setPointerCapture(e.pointerId);
});
element.addEventListener('pointermove', e => {
    if (!from) return;
    const to = at(e);
    show([Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])]);
});
element.addEventListener('pointerup', () => {
    if (!from) return;
    from = null;
    if (box && box[2]-box[0] > smallest && box[3]-box[1] > smallest) trigger('box', {box}); else draw(false);
});
element.addEventListener('pointercancel', () => { from = null; });
element.addEventListener('keydown', e => {
    const step = steps[e.key];
    if (!box || !e.target.closest('.box')) return;
    if (e.key === 'Enter') trigger('box', {box});
    if (e.key === 'Escape') draw(false);
    if (!step) return;
    e.preventDefault();
    show(box.map((v, i) => limit(v + (e.shiftKey && i < 2 ? 0 : step[i%2]))));
});
watch('value', () => {
    from = null;
    if (find('figure')) draw(false);
    if (find('form')) find('form').reset();
});
