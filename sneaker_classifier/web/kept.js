// What was taught, kept in the browser's own store: of each photo what the network saw in it and a small picture. Other pages of the
// same host can write there too, so what is read is looked at as if it came from anywhere.
import {isLabel} from './teach.js';

/** @typedef {{label: string, id: string, network: string, features: Float32Array, logits: Float32Array, plain: number[] | null,
 *     small: Uint8Array<ArrayBuffer>}} Photo `id` is the first half of its sha256, `network` that of model.onnx; features and logits are
 *     those of the photo and of its mirror image, one after the other */
/** @typedef {{network: string, features: number, logits: number, labels: string[], side: number}} Fit What a photo has to fit */

const table = 'photos';

const patience = 10_000; // milliseconds, which a slow phone hardly needs

/** @param {string} name @returns {Promise<IDBDatabase>} */
const opened = name => new Promise((resolve, reject) => {
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(table, {keyPath: ['label', 'id']});
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
    // A store that another page is about to delete, and cannot, would not open ever.
    setTimeout(() => { reject(Error('too late')); opening.onsuccess = () => opening.result.close(); }, patience);
});

/** @param {string} name Of the store @param {IDBTransactionMode} mode @param {(photos: IDBObjectStore) => void} change */
async function within(name, mode, change) {
    const store = await opened(name);
    try {
        const all = store.transaction(table, mode);
        change(all.objectStore(table));
        await new Promise((resolve, reject) => { all.oncomplete = resolve; all.onabort = () => reject(all.error); });
    } finally { store.close(); }
}

const largest = 1e4; // far more than any network gives, and small enough to reckon with

/** @param {unknown} o @param {number} n @returns {o is Float32Array} */
const numbers = (o, n) => o instanceof Float32Array && o.length === n && o.every(z => Math.abs(z) < largest);

/** @param {any} o @param {Fit} fit @returns {o is Photo} */
const fits = (o, fit) => o.network === fit.network && isLabel(o.label) && !fit.labels.includes(o.label)
    && typeof o.id === 'string' && /^[0-9a-f]{32}$/.test(o.id) && numbers(o.features, 2*fit.features) && numbers(o.logits, 2*fit.logits)
    && (o.plain === null || (Array.isArray(o.plain) && o.plain.length === 3 && o.plain.every(Number.isFinite)))
    && o.small instanceof Uint8Array && o.small.length === 3*fit.side**2;

/** All photos by name, and how many there are that do not fit
 * @param {string} store @param {Fit} fit @returns {Promise<{photos: Photo[], others: number}>} */
export async function all(store, fit) {
    /** @type {unknown[]} */ let found = [];
    await within(store, 'readonly', o => { o.getAll().onsuccess = e => { found = /** @type {IDBRequest} */ (e.target).result; }; });
    const photos = /** @type {Photo[]} */ (found.filter(o => fits(o, fit)));
    return {photos, others: found.length - photos.length};
}

/** @param {string} store @param {Photo} photo */
export const keep = (store, photo) => within(store, 'readwrite', o => { o.put(photo); });

/** One photo, all of a name, or all that there are
 * @param {string} store @param {string[]} key A name and the photo's id, or less of it */
export const forget = (store, key) => within(store, 'readwrite', o => {
    if (!key.length) o.clear(); else o.delete(key.length > 1 ? key : IDBKeyRange.bound(key, [...key, '\uffff']));
});

/** All that does not fit
 * @param {string} store @param {Fit} fit */
export const tidy = (store, fit) => within(store, 'readwrite', o => {
    o.openCursor().onsuccess = e => {
        const at = /** @type {IDBRequest<IDBCursorWithValue | null>} */ (e.target).result;
        if (at && !fits(at.value, fit)) at.delete();
        at?.continue();
    };
});
