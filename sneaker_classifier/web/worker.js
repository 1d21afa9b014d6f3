// Loads the network and answers, beside the page, so that nothing on it stutters.
import {answer, evidence, heat, smallPart, spokeFor, where, within} from './answers.js';
import {BadImage, checkSize, draft, inPixels, pixels, unpack} from './pictures.js';
import {crop, fitSquare, subjectBox} from './squares.js';

/** @typedef {import('./answers.js').Answer} Answer */
/** @typedef {import('./answers.js').Card} Card */
/** @typedef {import('./squares.js').Box} Box */
/** @typedef {import('./squares.js').Picture} Picture */
/** @typedef {import('./pictures.js').Door & import('./squares.js').Margins & import('./answers.js').Thresholds
 *     & {sizes: Record<string, number>, map_side: number}} Numbers numbers.json */
/** @typedef {{maps: Float32Array, answer: Answer, seen: Box, closer: Box | null}} Look `seen` is what the square shows, in shares */
/** @typedef {{name: string, width: number, height: number, pixels: Uint8ClampedArray<ArrayBuffer>, where: string}} EvidenceMap */

const folder = new URL('.', location.href), runtime = `${folder}runtime/`;
const shown = 3; // of the likeliest

/** @param {string} path */
async function json(path) {
    const said = await fetch(folder + path, {cache: 'no-cache'});
    if (!said.ok) throw Error(`${path} is missing (${said.status}).`);
    return said.json();
}

/** Fetches large files and tells how far they have come, counted in bytes after unpacking
 * @param {Record<string, number>} sizes */
function loader(sizes) {
    const all = Object.values(sizes).reduce((a, b) => a + b, 0);
    let done = 0;
    return async (/** @type {string} */ path, /** @type {string} */ version) => {
        const said = await fetch(`${folder}${path}?${version}`);
        if (!said.ok || !said.body) throw Error(`${path} is missing (${said.status}).`);
        const parts = [], reader = said.body.getReader();
        for (let part; !(part = await reader.read()).done;) {
            parts.push(part.value);
            done += part.value.length;
            postMessage({kind: 'loading', share: Math.min(1, done/all)});
        }
        return new Blob(parts).arrayBuffer();
    };
}

/** @param {ArrayBuffer} data @param {string} sha256 @param {string} path */
async function check(data, sha256, path) {
    if (!crypto.subtle) throw Error('Browsers check files only on pages that come by https or from this machine (localhost). Open this one so.');
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    const found = Array.from(digest, o => o.toString(16).padStart(2, '0')).join('');
    if (found !== sha256) throw Error(`${path} is not the file that was put here: its sha256 differs. Load the page again.`);
}

async function load() {
    /** @type {[Card, Numbers & {sha256: Record<string, string>}]} */
    const [card, numbers] = await Promise.all([json('model/model.json'), json('numbers.json')]);
    const fetched = loader(numbers.sizes), wasm = 'runtime/ort-wasm-simd-threaded.wasm', network = 'model/model.onnx';
    const [ort, binary, model] = await Promise.all([import('./runtime/ort.wasm.min.mjs'),
        fetched(wasm, numbers.sha256[wasm]), fetched(network, card.sha256['model.onnx'])]);
    await Promise.all([check(model, card.sha256['model.onnx'], network), check(binary, numbers.sha256[wasm], wasm)]);
    ort.env.wasm.numThreads = 1; // more need headers that few hosts of static pages send
    ort.env.wasm.wasmPaths = {mjs: `${runtime}ort-wasm-simd-threaded.mjs`};
    ort.env.wasm.wasmBinary = binary;
    const session = await ort.InferenceSession.create(new Uint8Array(model), {executionProviders: ['wasm']});
    /** @param {Picture} square @returns {Promise<{logits: Float32Array, maps: Float32Array}>} */
    const run = async square => {
        const given = new ort.Tensor('uint8', square.data, [1, square.height, square.width, 3]);
        const {logits, evidence} = await session.run({[session.inputNames[0]]: given}, ['logits', 'evidence']);
        return {logits: logits.data, maps: evidence.data};
    };
    await run({width: card.detail, height: card.detail, data: new Uint8Array(3*card.detail**2)}); // the first run takes longer
    return {card, numbers, run};
}
const loaded = load();
loaded.then(({card, numbers}) => postMessage({kind: 'ready', card, limits: numbers.limits}),
    e => postMessage({kind: 'failed', said: String(e.message ?? e)}));

/** SneakerClassifier._look: an answer, and, where it is not likely, the small part that spoke for it
 * @param {Picture} im @returns {Promise<Look>} */
async function look(im) {
    const {card, numbers, run} = await loaded;
    const [left, top, right, bottom] = subjectBox(im, numbers), box = [left, top, right, bottom];
    const {logits, maps} = await run(fitSquare(im, card.detail, box)), p = answer(logits, card, numbers);
    const seen = within([0, 0, 1, 1], box, im.width, im.height);
    if (p.confidence >= numbers.likely) return {maps, answer: p, seen, closer: null};
    const i = card.classes.findIndex(o => o.label === p.label), grid = spokeFor(maps, i, card.classes.length);
    const part = smallPart(grid, right - left, bottom - top, numbers);
    return {maps, answer: p, seen, closer: part && within(part, box, im.width, im.height)};
}

/** SneakerClassifier._look_twice
 * @param {Picture} im @returns {Promise<Look>} */
async function lookTwice(im) {
    const {numbers} = await loaded, first = await look(im);
    if (!first.closer) return first;
    const box = inPixels(first.closer, im);
    if (Math.min(box[2] - box[0], box[3] - box[1]) < numbers.limits.min_side) return first;
    const second = await look(crop(im, box));
    if (second.answer.confidence < numbers.clear) return first;
    return {...second, answer: {...second.answer, box: first.closer}, seen: within(second.seen, box, im.width, im.height)};
}

/** @param {Look} found @param {{width: number, height: number}} im @returns {Promise<EvidenceMap[]>} */
async function mapsOf({maps, answer, seen}, im) {
    const {card, numbers} = await loaded, scale = Math.min(1, numbers.map_side/Math.max(im.width, im.height));
    const [width, height] = [im.width, im.height].map(o => Math.max(1, Math.round(scale*o)));
    return answer.scores.slice(0, shown).map(({label, name}) => {
        const i = card.classes.findIndex(o => o.label === label);
        const spoke = evidence(spokeFor(maps, i, card.classes.length), seen, width, height);
        return {name, width, height, pixels: heat(spoke), where: where(spoke, width)};
    });
}

/** A part of a picture as the network needs it
 * @param {{format: string, bitmap: ImageBitmap}} file @param {Box} part In pixels @param {boolean} cut */
async function picture({format, bitmap}, part, cut) {
    const {card} = await loaded, times = draft(part[2] - part[0], part[3] - part[1], card.detail);
    return pixels(bitmap, part, format === 'JPEG' || cut ? times : 1);
}

const largest = 1600; // pixels of a photo that is shown

/** A part of a photo, no larger than a screen needs it
 * @param {ImageBitmap} bitmap @param {Box} part In pixels */
function toShow(bitmap, [left, top, right, bottom]) {
    const [width, height] = [right - left, bottom - top], scale = Math.min(1, largest/Math.max(width, height));
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(scale*width)), Math.max(1, Math.round(scale*height)));
    const context = canvas.getContext('2d');
    if (context) context.imageSmoothingQuality = 'high';
    context?.drawImage(bitmap, left, top, width, height, 0, 0, canvas.width, canvas.height);
    return canvas.transferToImageBitmap();
}

/** @param {Blob} file @param {Box | null} box The part to look at, in shares of the sides */
async function ask(file, box) {
    const {numbers} = await loaded, unpacked = await unpack(file, numbers), {bitmap} = unpacked;
    try {
        const part = inPixels(box ?? [0, 0, 1, 1], bitmap), size = {width: part[2] - part[0], height: part[3] - part[1]};
        checkSize(size.width, size.height, numbers);
        const found = await lookTwice(await picture(unpacked, part, !!box));
        return {answer: found.answer, maps: await mapsOf(found, size), photo: toShow(bitmap, part)};
    } finally { bitmap.close(); }
}

onmessage = async ({data: {id, file, box}}) => {
    try {
        const answered = await ask(file, box);
        postMessage({kind: 'answer', id, ...answered}, {transfer: [answered.photo]});
    }
    catch (e) {
        const said = e instanceof BadImage ? e.message : `Something went wrong: ${e instanceof Error ? e.message : e}`;
        postMessage({kind: 'answer', id, error: said});
    }
};
