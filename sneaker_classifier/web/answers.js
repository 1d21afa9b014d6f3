// What the network's numbers mean, as 03_predict.ipynb and 17_app.ipynb say it. Nothing here knows of a browser.
import {resize, round} from './squares.js';

/** @typedef {import('./squares.js').Box} Box */
/** @typedef {{label: string, brand: string, model: string, sure_from?: number}} SneakerClass */
/** @typedef {{format: number, classes: SneakerClass[], detail: number, temperature: number, sure_from: number, lead_from?: number,
 *     brand_sure_from?: number, sha256: Record<string, string>, metrics?: Record<string, number>, provenance?: object, taught?: object}} Card model.json */
/** @typedef {{likely: number, certain: number, clear: number, most: number, candidates: number, strong: number, around: number,
 *     small: number}} Thresholds From 03_predict.ipynb */
/** @typedef {{label: string, name: string, brand: string, confidence: number, sure: boolean, brandConfidence: number,
 *     brandSure: boolean, taught: boolean, candidates: string[], scores: {label: string, name: string, p: number}[], box: Box}} Answer */
/** @typedef {{cells: number, data: Float32Array}} Grid What each cell of a square said */

/** @param {ArrayLike<number>} logits @param {number} temperature */
export function softmax(logits, temperature) {
    const z = Array.from(logits, o => o/temperature), top = Math.max(...z);
    const e = z.map(o => Math.exp(o - top)), sum = e.reduce((a, b) => a + b, 0);
    return e.map(o => o/sum);
}

/** @param {SneakerClass} c */
export const nameOf = c => `${c.brand} ${c.model}`.trim();

/** SneakerClassifier.answer: names, probabilities, and whether that is sure
 * @param {ArrayLike<number>} logits @param {Card} card @param {Thresholds} t @returns {Answer} */
export function answer(logits, card, t) {
    const probs = softmax(logits, card.temperature);
    const scores = card.classes.map((c, i) => ({label: c.label, name: nameOf(c), c, p: probs[i]})).sort((a, b) => b.p - a.p);
    const {c, p, label, name} = scores[0], [familiarity, next] = Array.from(logits).sort((a, b) => b - a);
    const ofBrand = scores.filter(o => o.c.brand === c.brand), brandConfidence = ofBrand.reduce((sum, o) => sum + o.p, 0);
    // A class that was taught has a limit of its own.
    const clear = familiarity >= card.sure_from && familiarity - next >= (card.lead_from ?? 0);
    const sure = p >= t.likely && (c.sure_from === undefined ? clear : familiarity >= c.sure_from);
    const brandSure = sure || (brandConfidence >= t.certain && familiarity >= (c.sure_from ?? card.brand_sure_from ?? Infinity));
    let n = 0;
    for (let sum = 0; n < Math.min(t.candidates, ofBrand.length) && sum < t.most*brandConfidence; n++) sum += ofBrand[n].p;
    return {label, name, brand: c.brand, confidence: p, sure, brandConfidence, brandSure, taught: c.sure_from !== undefined,
        candidates: ofBrand.slice(0, n).map(o => o.c.model), scores: scores.map(({label, name, p}) => ({label, name, p})),
        box: [0, 0, 1, 1]};
}

/** spoke_for: how much each cell spoke for a class, more than for the average one
 * @param {Float32Array} maps Of all classes @param {number} i Number of a class @param {number} n Of classes @returns {Grid} */
export function spokeFor(maps, i, n) {
    const size = maps.length/n, data = maps.slice(i*size, (i + 1)*size);
    for (let cell = 0; cell < size; cell++) {
        let sum = 0;
        for (let k = 0; k < n; k++) sum += maps[k*size + cell];
        data[cell] -= sum/n;
    }
    return {cells: Math.sqrt(size), data};
}

/** Where the picture lies in the square, in cells of the grid
 * @param {number} width @param {number} height @param {number} cells @returns {Box} */
function contentBox(width, height, cells) {
    const [w, h] = [width, height].map(o => cells*o/Math.max(width, height));
    return [(cells - w)/2, (cells - h)/2, (cells + w)/2, (cells + h)/2];
}

/** small_part: around the cells with most of the evidence; null where it is no small part
 * @param {Grid} grid @param {number} width @param {number} height @param {Thresholds} t @returns {Box | null} Shares of the sides */
export function smallPart({cells, data}, width, height, t) {
    const from = Math.fround(t.strong)*Math.max(...data), xs = [], ys = [];
    for (let i = 0; i < data.length; i++) if (data[i] >= from) { xs.push(i % cells); ys.push(Math.floor(i/cells)); }
    if (!xs.length) return null;
    const [left, top, right, bottom] = [Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1];
    const half = t.around/2*Math.max(bottom - top, right - left), x = (left + right)/2, y = (top + bottom)/2;
    const [l, u, r, d] = contentBox(width, height, cells);
    const box = [(x - half - l)/(r - l), (y - half - u)/(d - u), (x + half - l)/(r - l), (y + half - u)/(d - u)]
        .map(o => Math.min(1, Math.max(0, o)));
    const share = (box[2] - box[0])*(box[3] - box[1]);
    return share > 0 && share <= t.small ? box : null;
}

/** What is a share of the sides of `box` becomes a share of the picture's
 * @param {Box} part @param {Box} box In pixels @param {number} width @param {number} height @returns {Box} */
export const within = (part, box, width, height) =>
    part.map((o, i) => (box[i%2] + o*(box[i%2 + 2] - box[i%2]))/(i%2 ? height : width));

/** SneakerClassifier.evidence, for a picture of which the network has seen `box`
 * @param {Grid} grid @param {Box} box Shares of the sides @param {number} width @param {number} height Of the map
 * @returns {Float32Array} From 0 to 1 */
export function evidence({cells, data}, box, width, height) {
    const [left, top, right, bottom] = box.map((o, i) => round(o*(i%2 ? height : width)));
    const [w, h] = [Math.max(1, right - left), Math.max(1, bottom - top)];
    const part = resize({width: cells, height: cells, data}, 1, w, h, contentBox(w, h, cells));
    const out = new Float32Array(width*height);
    const most = Math.max(part.data.reduce((a, b) => Math.max(a, b), 0), 1e-6);
    for (let y = 0; y < h && top + y < height; y++) for (let x = 0; x < w && left + x < width; x++)
        out[(top + y)*width + left + x] = Math.max(0, part.data[y*w + x])/most;
    return out;
}

/** heat: blue by way of red to yellow, clear where there is no evidence
 * @param {Float32Array} evidence @returns {Uint8ClampedArray<ArrayBuffer>} Red, green, blue and alpha */
export function heat(evidence) {
    const out = new Uint8ClampedArray(4*evidence.length), middle = 127;
    evidence.forEach((o, i) => {
        const v = Math.floor(255*o), warm = v >= middle;
        out[4*i] = warm ? 255 : 255*v/middle;
        out[4*i + 1] = warm ? 255*(v - middle)/(255 - middle) : 0;
        out[4*i + 2] = warm ? 0 : 255 - 255*v/middle;
        out[4*i + 3] = v;
    });
    return out;
}

/** where: the ninth of the picture around which evidence lies
 * @param {Float32Array} evidence @param {number} width */
export function where(evidence, width) {
    const height = evidence.length/width;
    let sum = 0, x = 0, y = 0;
    evidence.forEach((o, i) => { sum += o; x += o*(i % width + .5); y += o*(Math.floor(i/width) + .5); });
    if (!sum) return 'nowhere';
    const third = (/** @type {number} */ o, /** @type {number} */ n) => Math.min(2, Math.floor(3*o/sum/n));
    return `${['top', 'middle', 'bottom'][third(y, height)]} ${['left', 'centre', 'right'][third(x, width)]}`;
}

const help = 'It helps to show the whole shoe from the side, closer and in better light, or to draw a box around it.';
const certainty = (/** @type {number} */ p) => p >= .95 ? 'Almost certainly' : p >= .8 ? 'Very likely' : 'Probably';
export const whole = (/** @type {number} */ p) => `${round(100*p)}%`;

/** A share as the list of the likeliest has it
 * @param {number} p */
export const percent = p => p >= .005 ? whole(p) : 'under 1%';

/** headline: what an answer says, in a few words
 * @param {Answer} a @returns {{title: string, said: string}} */
export function headline(a) {
    if (a.sure) return {title: a.name, said: `${certainty(a.confidence)}: ${whole(a.confidence)}`};
    if (a.brandSure) return {title: `A${/^[AEIOU]/.test(a.brand) ? 'n' : ''} ${a.brand}`,
        said: `${certainty(a.brandConfidence)} the brand: ${whole(a.brandConfidence)}. Of the model I am not sure: perhaps `
            + `${a.candidates.join(' or ')}, or one that I do not know. ${help}`};
    return {title: 'Not sure', said: `Perhaps it is a model that I do not know, or no sneaker. ${help}`};
}
