// Teaching, as a person sees it: a name, photos, how well they are told apart, and the ways to take all that along or back.
import {find, make} from './elements.js';
import {wrongName} from './teach.js';

/** @typedef {import('./learn.js').Report} Report */

const field = /** @type {HTMLInputElement} */ (find('name')), chooser = /** @type {HTMLInputElement} */ (find('photos'));

/** @param {...string} said */
const say = (...said) => find('taught-said').replaceChildren(...said.map(o => make('p', {}, o)));

/** @param {Uint8Array} rgb A square */
function smallOf(rgb) {
    const side = Math.sqrt(rgb.length/3), canvas = /** @type {HTMLCanvasElement} */ (make('canvas', {width: `${side}`, height: `${side}`,
        role: 'img', 'aria-label': 'A small picture of it'})), pixels = new ImageData(side, side);
    for (let i = 0, j = 0; i < rgb.length; j += 4) pixels.data.set([rgb[i++], rgb[i++], rgb[i++], 255], j);
    canvas.getContext('2d')?.putImageData(pixels, 0, 0);
    return canvas;
}

/** @param {Worker} worker
 * @param {(to: (photos: Blob[]) => void, sorry: (said: string) => void, many: boolean) => void} openCamera */
export function teaches(worker, openCamera) {
    /** @type {string[]} */ let labels = []; // that the network knows by itself

    /** @param {string} name @param {string} said @param {string} label @param {string[]} key */
    const forgets = (name, said, label, key) => {
        const button = make('button', {type: 'button', name, 'aria-label': label}, said);
        button.addEventListener('click', () => {
            worker.postMessage({forget: key});
            find('teach').querySelector('summary')?.focus(); // since the button is about to go
        });
        return button;
    };

    /** @param {Report} o */
    const reported = ({label, name, said, advice, odd}) => make('article', {class: 'lesson'},
        make('div', {class: 'head'}, make('h2', {}, name), forgets('back', 'Take back', `Take back ${name}`, [label])),
        make('p', {}, said), make('ul', {}, ...advice.map(o => make('li', {}, o))),
        make('div', {class: 'buttons'}, ...odd.map(({id, small}, i) => make('div', {class: 'odd'}, smallOf(small), 'Out of place?',
            forgets('without', 'Leave it out', `Leave it out, photo ${i + 1} of ${odd.length} of ${name}`, [label, id])))));

    /** @param {File[]} files */
    function take(files) {
        navigator.storage?.persist?.().catch(() => {}); // so that the browser does not tidy it away
        say('Looking …');
        worker.postMessage({teach: {name: field.value, files: files.map(file => ({name: file.name, file}))}});
    }

    chooser.addEventListener('change', () => {
        take([...chooser.files ?? []]);
        chooser.value = '';
    });
    find('more').hidden = !navigator.mediaDevices;
    find('more').addEventListener('click', () => {
        const wrong = wrongName(field.value, labels);
        if (wrong) say(wrong); else openCamera(photos => take(photos.map((o, i) => new File([o], `Photo ${i + 1}`))), say, true);
    });
    find('all').addEventListener('click', e => {
        const name = /** @type {HTMLElement} */ (e.target).getAttribute('name');
        if (name === 'folder') worker.postMessage({folder: true});
        if (name === 'forget' && confirm('Forget all that was taught on this device?')) worker.postMessage({forget: []});
    });

    /** @param {Blob} zip */
    function download(zip) {
        const link = /** @type {HTMLAnchorElement} */ (make('a', {href: URL.createObjectURL(zip), download: 'taught.zip'}));
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    }

    /** What the worker tells @param {any} data */
    function hear({kind, said, reports, others, known, zip}) {
        if (kind === 'teaching') say(said);
        if (kind === 'folder') download(zip);
        if (kind !== 'taught') return;
        labels = known;
        const part = /** @type {HTMLDetailsElement} */ (find('teach'));
        part.hidden = false;
        part.open ||= others > 0;
        const lost = `Of what was taught here, ${others} photo${others > 1 ? 's' : ''} cannot be used: damaged, or seen by another network than `
            + 'the page has now. Teach it again, or press Forget all.';
        say(...said, ...others ? [lost] : []);
        find('lessons').replaceChildren(...reports.map(reported));
        find('all').hidden = !(reports.length || others);
    }

    return {hear, take, takes: (/** @type {EventTarget | null} */ onto) => onto instanceof Node && find('teach').contains(onto)};
}
