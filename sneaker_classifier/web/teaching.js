// Teaching, as a person sees it: a name, photos, how well they are told apart, and the ways to take all that along or back.
import {find, make} from './elements.js';
import {wrongName} from './teach.js';

/** @typedef {import('./learn.js').Report} Report */

const field = /** @type {HTMLInputElement} */ (find('name')), chooser = /** @type {HTMLInputElement} */ (find('photos'));

const part = /** @type {HTMLDetailsElement} */ (find('teach')), heading = /** @type {HTMLElement} */ (part.querySelector('summary'));

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

    /** Whether there is a name for the photos */
    function named() {
        const wrong = wrongName(field.value, labels);
        if (wrong) { say(wrong); field.focus(); }
        return !wrong;
    }

    /** @param {string[] | null} key As learn.js takes it @param {string} question Asked before all of that is gone; none if empty */
    function forget(key, question = '') {
        if (question && !confirm(question)) return;
        worker.postMessage({forget: key});
        heading.focus(); // since the button is about to go
    }

    /** @param {string} said @param {Record<string, string>} attributes @param {() => void} does */
    const button = (said, attributes, does) => {
        const o = make('button', {type: 'button', ...attributes}, said);
        o.addEventListener('click', does);
        return o;
    };

    /** @param {Report} o */
    const reported = ({label, name, said, advice, odd}) => make('article', {class: 'lesson'},
        make('div', {class: 'head'}, make('h2', {}, name), button('Take back', {name: 'back', 'aria-label': `Take back ${name}`},
            () => forget([label], `Forget ${name} and what its photos taught?`))),
        make('p', {}, said), ...advice.length ? [make('ul', {}, ...advice.map(o => make('li', {}, o)))] : [],
        ...odd.map(({id, small}, i) => make('div', {class: 'odd'}, smallOf(small), 'Out of place?', button('Leave it out',
            {name: 'without', 'aria-label': `Leave it out, photo ${i + 1} of ${odd.length} of ${name}`}, () => forget([label, id])))));

    /** @param {File[]} files */
    function take(files) {
        if (!files.length || !named()) return;
        navigator.storage?.persist?.().catch(() => {}); // so that the browser does not tidy it away
        say('Looking …');
        worker.postMessage({teach: {name: field.value, photos: files.map(file => ({name: file.name, file}))}});
    }

    chooser.addEventListener('click', e => { if (!named()) e.preventDefault(); });
    chooser.addEventListener('change', () => {
        take([...chooser.files ?? []]);
        chooser.value = '';
    });
    find('more').hidden = !navigator.mediaDevices;
    find('more').addEventListener('click', () => {
        if (named()) openCamera(photos => take(photos.map((o, i) => new File([o], `Photo ${i + 1}`))), say, true);
    });
    find('folder').addEventListener('click', () => worker.postMessage({folder: true}));
    find('forget').addEventListener('click', () => forget([], 'Forget all that was taught on this device?'));
    find('tidy').addEventListener('click', () => forget(null));

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
        if (part.hidden) part.open = said.length + others > 0;
        part.hidden = false;
        if (said.length) say(...said); // nothing is said of what another tab has done
        find('unfit').hidden = !others;
        find('unfit-said').textContent = `Of what was taught here, ${others} photo${others > 1 ? 's' : ''} cannot be used: damaged, or `
            + 'seen by another network than the page has now. Photos of the same shoe can be added again.';
        find('lessons').replaceChildren(...reports.map(reported));
        find('all').hidden = !reports.length;
    }

    /** Whether something is dropped here, on the heading too @param {EventTarget | null} onto */
    function takes(onto) {
        const here = onto instanceof Node && part.contains(onto);
        part.open ||= here;
        return here;
    }

    return {hear, take, say, takes};
}
