// Loads the network, answers and is taught, beside the page, so that nothing on it stutters.
import {nameOf} from './answers.js';
import {sha256} from './folder.js';
import {Learner} from './learn.js';
import {lookTwice, mapsOf, picture} from './look.js';
import {BadImage, checkSize, inPixels, unpack} from './pictures.js';
import {classOf, toLabel} from './teach.js';

/** @typedef {import('./answers.js').Card} Card */
/** @typedef {import('./learn.js').Network} Network */
/** @typedef {import('./learn.js').Teaching} Teaching */
/** @typedef {import('./squares.js').Box} Box */
/** @typedef {import('./look.js').Rules & {sizes: Record<string, number>, sha256: Record<string, string>, teach?: Teaching}} Numbers
 *     numbers.json */

const folder = `${new URL('.', location.href)}`, runtime = `${folder}runtime/`;

/** A file of the page. What a browser has kept of it may be of another version, so the host is asked whether it is
 * @param {string} path */
async function found(path) {
    const said = await fetch(folder + path, {cache: 'no-cache'}).catch(() => { throw Error(gone(path)); });
    if (!said.ok) throw Error(`${path} is missing (${said.status}).`);
    return said;
}
const gone = (/** @type {string} */ path) => `${path} could not be fetched: the connection is gone. Try again when it is back.`;

/** @param {string} path */
const json = async path => (await found(path)).json();

/** A file that is what it should be
 * @param {string} path @param {string} version Its sha256 @param {(n: number) => void} more Hears of bytes that have come, unpacked */
async function checked(path, version, more = () => {}) {
    const parts = [], reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ ((await found(path)).body).getReader();
    try { for (let part; !(part = await reader.read()).done; more(part.value.length)) parts.push(part.value); }
    catch { throw Error(gone(path)); }
    const data = await new Blob(parts).arrayBuffer();
    if (await sha256(data) !== version) throw Error(`${path} is not the file that was put here: its sha256 differs. Load the page again.`);
    return data;
}

/** Tells how far the large files have come
 * @param {Record<string, number>} sizes */
function counter(sizes) {
    const all = Object.values(sizes).reduce((a, b) => a + b, 0);
    let done = 0;
    return (/** @type {number} */ n) => postMessage({kind: 'loading', share: Math.min(1, (done += n)/all)});
}

/** @param {any} ort ONNX Runtime @param {ArrayBuffer | Uint8Array} model @param {Card} card @returns {Promise<Network>} */
async function opened(ort, model, card) {
    const session = await ort.InferenceSession.create(new Uint8Array(model), {executionProviders: ['wasm']});
    /** @type {Network['run']} */
    const run = async square => {
        const given = new ort.Tensor('uint8', square.data, [1, square.height, square.width, 3]);
        const {logits, evidence, features} = await session.run({[session.inputNames[0]]: given});
        return {logits: logits.data, maps: evidence.data, features: features?.data};
    };
    await run({width: card.detail, height: card.detail, data: new Uint8Array(3*card.detail**2)}); // the first run takes longer
    return {card, run, close: () => session.release()};
}

async function load() {
    if (!crypto.subtle)
        throw Error('Browsers check files only on pages that come by https or from this machine (localhost). Open this one so.');
    /** @type {[Card, Numbers]} */
    const [card, numbers] = await Promise.all([json('model/model.json'), json('numbers.json')]);
    const more = counter(numbers.sizes), wasm = 'runtime/ort-wasm-simd-threaded.wasm';
    const [ort, binary, model] = await Promise.all([import('./runtime/ort.wasm.min.mjs'), checked(wasm, numbers.sha256[wasm], more),
        checked('model/model.onnx', card.sha256['model.onnx'], more)]);
    ort.env.wasm.numThreads = 1; // more need headers that few hosts of static pages send
    ort.env.wasm.wasmPaths = {mjs: `${runtime}ort-wasm-simd-threaded.mjs`};
    ort.env.wasm.wasmBinary = binary;
    /** @type {import('./learn.js').Start['file']} */
    const file = async path => numbers.sha256[path] ? checked(path, numbers.sha256[path]) : new ArrayBuffer(0);
    const open = opened.bind(null, ort), network = await open(model, card), {teach: teaching} = numbers;
    return {numbers, network, learner: teaching && new Learner({card, rules: numbers, teaching, model, folder, open, file}, network)};
}
const loaded = load();

// One thing at a time: a network is not changed while it is asked.

const woken = loaded.then(({learner}) => learner?.refresh()).catch(tell);
/** @type {Promise<unknown>} */ let last = woken;
/** @template T @param {() => Promise<T>} what @returns {Promise<T>} */
function inTurn(what) {
    const next = last.then(what);
    last = next.catch(() => {});
    return next;
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
    const {numbers, ...start} = await loaded, unpacked = await unpack(file, numbers), {bitmap} = unpacked;
    try {
        const part = inPixels(box ?? [0, 0, 1, 1], bitmap), size = {width: part[2] - part[0], height: part[3] - part[1]};
        checkSize(size.width, size.height, numbers);
        const network = start.learner?.network ?? start.network;
        const found = await lookTwice(picture(unpacked, part, !!box, network.card), network, numbers);
        return {answer: found.answer, maps: mapsOf(found, size, network.card, numbers), photo: toShow(bitmap, part)};
    } finally { bitmap.close(); }
}

/** @param {number} id @param {Blob} file @param {Box | null} box */
async function reply(id, file, box) {
    try {
        const answered = await inTurn(() => ask(file, box));
        postMessage({kind: 'answer', id, ...answered}, {transfer: [answered.photo]});
    }
    catch (e) {
        const said = e instanceof BadImage ? e.message : `Something went wrong: ${e instanceof Error ? e.message : e}`;
        postMessage({kind: 'answer', id, error: said});
    }
}

// Teaching

const changes = new BroadcastChannel(`sneakers ${folder}`); // to the same page in other tabs

/** @type {string[]} */ let unsaid = []; // until all that was begun is done
/** @param {unknown} said A sentence, or an error with one */
function tell(said) { unsaid.push(said instanceof Error ? said.message : String(said)); }

/** @type {Promise<unknown>} */ let doing = woken;
let begun = 0;

/** Do something after all that was begun before, and tell what is taught then
 * @param {(learner: Learner) => Promise<void>} what */
async function teaching(what) {
    const {learner} = await loaded;
    if (!learner) return;
    begun++;
    await (doing = doing.then(() => what(learner)).catch(tell));
    postMessage({kind: 'taught', card: learner.network.card, reports: learner.reports(), others: learner.others, known: learner.fit.labels,
        said: unsaid});
    if (!--begun) unsaid = [];
}

/** @param {Learner} learner @param {string} name @param {{name: string, file: Blob}[]} photos */
async function teach(learner, name, photos) {
    const label = toLabel(name);
    await learner.prepare();
    try {
        for (const [i, {name, file}] of photos.entries()) {
            postMessage({kind: 'teaching', said: `Looking at photo ${i + 1} of ${photos.length} …`});
            const why = await inTurn(() => learner.add(label, file));
            if (why) tell(`${name} taught nothing: ${why}.`);
        }
        postMessage({kind: 'teaching', said: 'Learning …'});
    } catch (e) { tell(e); }
    await inTurn(() => learner.refresh());
    changes.postMessage('changed');
    const called = nameOf(classOf(label));
    if (learner.labels().includes(label)) tell(`${called} is in use: the page knows ${learner.network.card.classes.length} models now.`);
    else if (learner.names().includes(label)) tell(`${called} is not in use yet: it needs ${learner.start.teaching.least} photos or more.`);
}

/** @param {Learner} learner @param {string[] | null} key */
async function forget(learner, key) {
    await inTurn(() => learner.forget(key));
    changes.postMessage('changed');
    const all = !key ? 'What could not be used' : key.length ? nameOf(classOf(key[0])) : 'All that was taught';
    tell(key?.[1] ? 'The photo is left out.' : `${all} is forgotten.`);
}

changes.onmessage = () => teaching(o => inTurn(() => o.refresh()));

/** @param {Learner} learner */
async function takeAlong(learner) {
    postMessage({kind: 'teaching', said: 'Packing …'});
    postMessage({kind: 'folder', zip: await learner.zipped()});
    tell('taught.zip holds a model folder. Unpacked, it goes to sneaker-predict or sneaker-app, with --model.');
}

onmessage = ({data}) => {
    if (data.file) reply(data.id, data.file, data.box);
    if (data.teach) teaching(o => teach(o, data.teach.name, data.teach.photos));
    if ('forget' in data) teaching(o => forget(o, data.forget));
    if (data.folder) teaching(takeAlong);
};

woken.then(() => loaded).then(async ({network, learner}) => {
    await teaching(async () => {});
    postMessage({kind: 'ready', card: (learner ?? {network}).network.card});
}).catch(e => postMessage({kind: 'failed', said: String(e.message ?? e)}));
