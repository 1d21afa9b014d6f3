// What a person does with the page: give a photo, read the answer, see where it looked, draw a box.
import {headline, percent, within} from './answers.js';
import {find, make} from './elements.js';
import {teaches} from './teaching.js';

/** @typedef {import('./look.js').EvidenceMap} EvidenceMap */
/** @typedef {import('./answers.js').Answer} Answer */
/** @typedef {import('./answers.js').Card} Card */
/** @typedef {[number, number, number, number]} Box Left, top, right and bottom, in shares of the sides */
/** @typedef {{answer: Answer, maps: EvidenceMap[], photo: ImageBitmap, error?: undefined} | {error: string}} Answered */

/** @param {string} said */
const say = said => { find('status').textContent = said; };
/** @param {string} said */
const refuse = said => find('answer').replaceChildren(
    make('div', {role: 'alert', class: 'said'}, make('h2', {}, 'No answer'), make('p', {}, said)));

// The photo that is asked about, the part of it that is shown, and the number of the last question

/** @type {Blob | null} */ let photo = null;
/** @type {Box | null} */ let part = null;
let asked = 0;
const worker = new Worker('worker.js', {type: 'module'}), lessons = teaches(worker, openCamera);

/** @param {Blob} file @param {Box | null} box */
function ask(file, box = null) {
    [photo, part] = [file, box];
    if (!failed) say(ready ? 'Looking …' : 'It will be looked at as soon as the network is here.');
    worker.postMessage({id: ++asked, file, box});
}

let ready = false, failed = false;
worker.onmessage = ({data}) => {
    if (data.kind === 'loading') /** @type {HTMLProgressElement} */ (find('loading')).value = data.share;
    find('loading').hidden = ready || data.kind !== 'loading';
    if (data.kind === 'loading' && !photo) say('Loading the network. It comes once; after that the page needs no connection.');
    if (data.kind === 'failed') { failed = true; say(''); refuse(data.said); }
    if (data.kind === 'ready') { ready = true; describe(data.card); say(photo ? 'Looking …' : 'Ready.'); keep().catch(() => {}); }
    if (data.kind === 'answer' && data.id === asked && !failed) { say(''); show(data); } else data.photo?.close();
    if (data.kind === 'taught') describe(data.card);
    lessons.hear(data);
};
worker.onerror = e => {
    e.preventDefault();
    failed = true;
    say('');
    refuse('This browser cannot run the page. One from 2023 or later can: Firefox, Chrome, Edge or Safari.');
};

/** @param {Card} card */
function describe({classes, metrics}) {
    const brands = [...new Set(classes.map(o => o.brand))].sort();
    find('knows').textContent = `Knows ${classes.length} models of ${brands.length} brands.`;
    find('known').hidden = false;
    const models = (/** @type {string} */ b) => classes.filter(o => o.brand === b).map(o => o.model).join(', ');
    find('known').querySelector('tbody')?.replaceChildren(...brands.map(b =>
        make('tr', {}, make('th', {scope: 'row'}, b), make('td', {}, models(b)))));
    find('measured').textContent = metrics?.precision_when_sure ? `Measured on ${metrics.pictures} photos that it had not learned from: `
        + `it gave ${percent(metrics.coverage)} of them a name, and ${percent(metrics.precision_when_sure)} of those names were right.` : '';
    find('card').hidden = false;
}

// The answer

/** @param {EvidenceMap} map @param {number} i */
function canvasOf({name, width, height, pixels, where}, i) {
    const canvas = /** @type {HTMLCanvasElement} */ (make('canvas', {class: `map map${i}`, role: 'img',
        'aria-label': `Evidence for ${name}: mostly ${where}`, width: `${width}`, height: `${height}`}));
    canvas.getContext('2d')?.putImageData(new ImageData(pixels, width, height), 0, 0);
    return canvas;
}

/** @param {ImageBitmap} bitmap */
function photoOf(bitmap) {
    const canvas = /** @type {HTMLCanvasElement} */ (make('canvas', {class: 'photo', role: 'img', 'aria-label': 'Your photo',
        width: `${bitmap.width}`, height: `${bitmap.height}`}));
    canvas.getContext('bitmaprenderer')?.transferFromImageBitmap(bitmap);
    return canvas;
}

/** @param {Answer} a @param {number} n */
function likeliest(a, n) {
    const bars = a.scores.slice(0, n).map(({name, p}, i) => {
        const bar = make('span', {class: 'bar'}), choice = make('input', {type: 'radio', name: 'why', value: `${i}`});
        /** @type {HTMLInputElement} */ (choice).checked = !i;
        bar.style.setProperty('--share', `${p}`);
        return make('label', {}, choice, make('span', {}, name), make('span', {}, percent(p)), bar);
    });
    const given = a.sure ? '' : 'If it is one of the models that I know, these are the likeliest. ';
    const form = make('form', {'aria-label': 'The three likeliest'}, make('p', {}, `${given}Choose one to see what speaks for it.`), ...bars);
    return a.sure ? form : make('details', a.taught ? {open: ''} : {}, make('summary', {}, 'The nearest of what I know'), form);
}

const keys = 'Box. Arrow keys move it, with Shift they resize it, Enter asks again, Escape removes it.';

/** @param {Answered} found */
function show(found) {
    if (found.error !== undefined) return refuse(found.error);
    const {title, said} = headline(found.answer);
    const box = make('div', {class: 'box', tabindex: '0', role: 'group', 'aria-label': keys, hidden: ''});
    const figure = make('figure', {}, photoOf(found.photo), ...found.maps.map(canvasOf), box);
    const slider = /** @type {HTMLInputElement} */ (make('input', {type: 'range', name: 'strength', min: '0', max: '100', value: '60'}));
    slider.addEventListener('input', () => figure.style.setProperty('--strength', `${Number(slider.value)/100}`));
    const draw = make('button', {type: 'button', name: 'draw'}, 'Draw a box around the shoe');
    const back = make('button', {type: 'button', name: 'whole'}, 'Back to the whole photo');
    back.addEventListener('click', () => photo && ask(photo));
    const looked = make('div', {class: 'looked'}, figure, make('label', {class: 'strength'}, 'Where it looked', slider),
        make('p', {class: 'buttons'}, draw, ...part ? [back] : []));
    draws(figure, box, draw);
    find('answer').replaceChildren(make('div', {class: 'said'},
        make('div', {role: 'status'}, make('h2', {}, title), make('p', {}, said)), likeliest(found.answer, found.maps.length)), looked);
}

// A box, by mouse, finger and keyboard

const limit = (/** @type {number} */ v) => Math.min(1, Math.max(0, v));
/** @type {Record<string, [number, number]>} */
const steps = {ArrowLeft: [-.02, 0], ArrowRight: [.02, 0], ArrowUp: [0, -.02], ArrowDown: [0, .02]};
const smallest = .03; // share of the photo; what is smaller was a click

/** A box within what is shown, as a box within the photo
 * @param {Box} b @returns {Box} */
const inPhoto = b => /** @type {Box} */ (within(b, part ?? [0, 0, 1, 1], 1, 1));

/** @param {HTMLElement} figure @param {HTMLElement} frame @param {HTMLElement} button */
function draws(figure, frame, button) {
    /** @type {Box | null} */ let box = null;
    /** @type {[number, number] | null} */ let from = null;
    let drawing = false;
    const place = (/** @type {Box | null} */ b) => {
        box = b;
        frame.hidden = !b;
        if (b) frame.style.inset = `${b[1]*100}% ${(1 - b[2])*100}% ${(1 - b[3])*100}% ${b[0]*100}%`;
    };
    const draw = (/** @type {boolean} */ on) => {
        drawing = on;
        figure.classList.toggle('drawing', on);
        place(on ? [.25, .25, .75, .75] : null);
    };
    const again = () => { if (box && photo) ask(photo, inPhoto(box)); };
    /** @param {PointerEvent} e @returns {[number, number]} */
    const at = e => {
        const r = figure.getBoundingClientRect();
        return [limit((e.clientX - r.left)/r.width), limit((e.clientY - r.top)/r.height)];
    };
    button.addEventListener('click', () => { draw(true); frame.focus(); });
    figure.addEventListener('pointerdown', e => {
        if (!(drawing || e.pointerType === 'mouse') || e.button) return;
        e.preventDefault();
        from = at(e);
        figure.setPointerCapture(e.pointerId);
    });
    figure.addEventListener('pointermove', e => {
        if (!from) return;
        const to = at(e);
        place([Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])]);
    });
    figure.addEventListener('pointerup', () => {
        if (!from) return;
        from = null;
        if (box && box[2] - box[0] > smallest && box[3] - box[1] > smallest) again(); else draw(false);
    });
    figure.addEventListener('pointercancel', () => { from = null; });
    frame.addEventListener('keydown', e => {
        const step = steps[e.key];
        if (!box) return;
        if (e.key === 'Enter') again();
        if (e.key === 'Escape') { draw(false); button.focus(); }
        if (!step) return;
        e.preventDefault();
        place(/** @type {Box} */ (box.map((v, i) => limit(v + (e.shiftKey && i < 2 ? 0 : step[i%2])))));
    });
}

// Ways to give a photo: choose, drop, paste, camera

const chooser = /** @type {HTMLInputElement} */ (find('file'));
chooser.addEventListener('change', () => {
    if (chooser.files?.[0]) ask(chooser.files[0]);
    chooser.value = ''; // so that the same photo can be chosen again
});

/** @param {DataTransfer | null} data @param {EventTarget | null} onto */
function take(data, onto = null) {
    const taught = lessons.takes(onto);
    if (data?.files[0]) return taught ? lessons.take([...data.files]) : ask(data.files[0]);
    const what = data?.types.includes('text/uri-list') ? 'That is an address, not a picture.' : 'That is not a picture.';
    (taught ? lessons.say : refuse)(`${what} Save the picture first, then drop the file here.`);
}
document.addEventListener('dragover', e => e.preventDefault());
document.addEventListener('drop', e => { e.preventDefault(); take(e.dataTransfer, e.target); });
document.addEventListener('paste', e => { if (e.target !== find('name') || e.clipboardData?.files[0]) take(e.clipboardData, e.target); });

const finder = /** @type {HTMLDialogElement} */ (find('finder')), video = /** @type {HTMLVideoElement} */ (finder.querySelector('video'));
/** @type {(photos: Blob[]) => void} */ let give = () => {};
/** @type {Blob[]} */ let taken = [];
let several = false;

let opening = false;

/** @param {(photos: Blob[]) => void} to Gets what was taken @param {(said: string) => void} sorry @param {boolean} many More than one? */
async function openCamera(to, sorry, many) {
    if (opening) return; // a second camera would never be switched off
    opening = true;
    try { video.srcObject = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'environment', width: {ideal: 1920}}}); }
    catch { return sorry('There is no camera, or the browser may not use it. Choose a photo instead.'); }
    finally { opening = false; }
    [give, several, taken] = [to, many, []];
    find('taken').textContent = '';
    /** @type {HTMLElement} */ (finder.querySelector('[name=close]')).textContent = many ? 'Done' : 'Close';
    finder.showModal();
    video.play().catch(() => {}); // closed before it could
}
find('camera').hidden = !navigator.mediaDevices;
find('camera').addEventListener('click', () => openCamera(([o]) => ask(o), refuse, false));
finder.addEventListener('click', e => {
    const name = /** @type {HTMLElement} */ (e.target).getAttribute('name');
    if (name === 'take') snap();
    if (name === 'close') finder.close();
});
finder.addEventListener('close', () => {
    if (video.srcObject instanceof MediaStream) for (const o of video.srcObject.getTracks()) o.stop();
    video.srcObject = null;
    if (taken.length) give(taken);
});

function snap() {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext('2d')?.drawImage(video, 0, 0);
    canvas.toBlob(o => {
        if (!o) { find('taken').textContent = 'The camera gave no picture. Try again.'; return; }
        if (!finder.open) return give([o]); // it was closed meanwhile
        taken.push(o);
        if (several) find('taken').textContent = `${taken.length} taken`; else finder.close();
    }, 'image/jpeg', .95);
}

// Without a connection, and when there is a newer version

/** Fails in some private windows, where the page does without */
async function keep() {
    if (!navigator.serviceWorker) return; // on a page that came neither by https nor from this machine
    const found = await navigator.serviceWorker.register('sw.js');
    const offer = (/** @type {ServiceWorker | null} */ next) => {
        if (!next || !navigator.serviceWorker.controller) return;
        find('newer').hidden = false;
        find('newer').querySelector('button')?.addEventListener('click', () => next.postMessage('take over'));
    };
    if (found.waiting) offer(found.waiting);
    found.addEventListener('updatefound', () => {
        const next = found.installing;
        next?.addEventListener('statechange', () => { if (next.state === 'installed') offer(next); });
    });
    const had = navigator.serviceWorker.controller;
    navigator.serviceWorker.addEventListener('controllerchange', () => { if (had) location.reload(); });
}
