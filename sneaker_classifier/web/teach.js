// New classes from a few photos each, as 15_teach.ipynb fits them and says how well they do. Nothing here knows of a browser.
import {softmax} from './answers.js';

/** @typedef {{weight_decay: number, steps: number, heaps: number, hair: number, may_be_sure: number, strange_sure: number, doubt: number,
 *     never: number, least: number, out_of_place: number, alike: number, near_colours: number, likely: number,
 *     precision: number}} Teaching Numbers from 15_teach.ipynb */
/** @typedef {{features: Float32Array[], logits: Float32Array[], right: ArrayLike<number>, along: Float32Array[]}} Shoes Pictures that a
 *     model has kept back, and the directions in which features of one shoe differ most */
/** @typedef {{label: string, features: Float32Array[], logits: Float32Array[], plain: number[] | null}} Seen A photo, as it is and
 *     mirrored, and the colour behind it, where that is plain */
/** @typedef {{weights: Float64Array[], bias: number[], push: number, sureFrom: number, scores: number[][], sure: boolean[]}} Rows */
/** @typedef {{photos: number, found: number, sure: number, takenFor: [string, number][], odd: number[], advice: string[]}} Lesson
 *     `odd` are numbers of photos */

// Names

/** What Python's casefold makes of a letter: ß becomes ss, and Cherokee alone gets capitals
 * @param {string} letter */
function folded(letter) {
    const small = letter.toLowerCase().toUpperCase().toLowerCase();
    return /\p{Script=Cherokee}/u.test(small) ? small.toUpperCase() : small;
}

/** to_label: small letters, digits and underscores, the same on every system
 * @param {string} text */
export function toLabel(text) {
    const small = Array.from(text.normalize('NFKC'), folded).join('').normalize('NFKC');
    return small.replace(/[^\p{L}\p{M}\p{N}]+/gu, '_').replace(/^_+|_+$/g, '');
}

/** is_label
 * @param {unknown} text @returns {text is string} */
export const isLabel = text => typeof text === 'string' && !!text && text === toLabel(text) && Array.from(text).length <= 64
    && !/^(con|prn|aux|nul|(com|lpt)[0-9¹²³])$/.test(text);

/** What is wrong with the name of a sneaker that is to be taught; nothing where it will do
 * @param {string} name @param {string[]} known Labels */
export function wrongName(name, known) {
    const label = toLabel(name);
    if (!label) return 'Give it a name first, such as My shoe. Then add the photos.';
    if (!isLabel(label)) return 'It cannot have this name. Choose another, such as My shoe. Then add the photos.';
    return known.includes(label) ? `${name.trim()} is known already. Choose another name. Then add the photos.` : '';
}

/** class_of: a class that is named after its label
 * @param {string} label */
export function classOf(label) {
    const [brand, ...model] = label.split('_').map(o => o.charAt(0).toUpperCase() + o.slice(1));
    return {label, brand, model: model.join(' ')};
}

// Rows of features

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b @param {number} n @param {number} at Where `b` starts */
function inner(a, b, n = a.length, at = 0) {
    let s = 0, t = 0, u = 0, v = 0, i = 0;
    // Four sums at a time do not wait for each other.
    for (; i + 3 < n; i += 4) { s += a[i]*b[at + i]; t += a[i+1]*b[at + i + 1]; u += a[i+2]*b[at + i + 2]; v += a[i+3]*b[at + i + 3]; }
    for (; i < n; i++) s += a[i]*b[at + i];
    return s + t + u + v;
}

/** @param {Float64Array} a @param {number} times @param {ArrayLike<number>} b @param {number} at Where `a` starts */
function add(a, times, b, at = 0) { for (let i = 0; i < b.length; i++) a[at + i] += times*b[i]; }

/** What is left of features once these directions are taken out
 * @param {ArrayLike<number>} x @param {Float32Array[]} along */
function without(x, along) {
    const left = Float64Array.from(x);
    for (const o of along) add(left, -inner(x, o), o);
    return left;
}

const dependent = 1e-9; // of a row's square: what is left of it is noise

/** A basis in which the nth row has but n numbers, and all inner products are as before: the fit takes the same steps, in a
 * fifth of the time. (These are the rows of Cholesky's decomposition of the inner products.) */
export class Basis {
    /** @type {Float64Array[]} */ rows = [];
    /** @type {ArrayLike<number>[]} */ given = [];

    /** @param {ArrayLike<number>} x */
    add(x) {
        const row = new Float64Array(this.rows.length + 1), all = inner(x, x);
        let left = all;
        this.rows.forEach((o, j) => {
            if (o[j]) row[j] = (inner(x, this.given[j]) - inner(o, row, j))/o[j];
            left -= row[j]**2;
        });
        row[row.length - 1] = left > dependent*all ? Math.sqrt(left) : 0;
        this.rows.push(row);
        this.given.push(x);
    }

    /** Forget all but the first rows
     * @param {number} n */
    cut(n) { this.rows.length = this.given.length = n; }

    /** What weighs features as `u` weighs their rows
     * @param {Float64Array} u */
    weights(u) {
        const v = Float64Array.from(u), w = new Float64Array(this.given[0].length);
        for (let i = v.length - 1; i >= 0; i--) {
            v[i] = this.rows[i][i] ? v[i]/this.rows[i][i] : 0;
            for (let j = 0; j < i; j++) v[j] -= this.rows[i][j]*v[i];
            add(w, v[i], this.given[i]);
        }
        return w;
    }
}

/** Of what is left of them once nuisances are taken out
 * @param {Shoes} shoes */
export function basisOf({features, along}) {
    const basis = new Basis();
    for (const o of features) basis.add(without(o, along));
    return basis;
}

// The fit

/** @typedef {(x: Float64Array) => {value: number, slope: Float64Array}} Cost */
const memory = 10, flat = 1e-5, still = 2.2e-9, enough = 1e-3, level = .9, tries = 20; // as in scipy's L-BFGS-B

/** Which way to go: L-BFGS
 * @param {Float64Array} slope @param {{s: Float64Array, y: Float64Array, r: number}[]} past */
function direction(slope, past) {
    const d = slope.map(o => -o), /** @type {number[]} */ shares = [], last = past[past.length - 1];
    for (const {s, y, r} of [...past].reverse()) {
        shares.push(r*inner(s, d));
        add(d, -shares[shares.length - 1], y);
    }
    if (last) { const by = 1/(last.r*inner(last.y, last.y)); d.forEach((o, i) => { d[i] = by*o; }); }
    for (const {s, y, r} of past) add(d, /** @type {number} */ (shares.pop()) - r*inner(y, d), s);
    return d;
}

/** How far to go: until it is lower, and less steep
 * @param {Cost} cost @param {Float64Array} x @param {{value: number, slope: Float64Array}} here @param {Float64Array} d
 * @param {number} step */
function search(cost, x, here, d, step) {
    const down = inner(here.slope, d);
    let low = 0, high = Infinity, at = x, next = here;
    for (let i = 0; i < tries; i++) {
        at = x.map((o, j) => o + step*d[j]);
        next = cost(at);
        if (next.value > here.value + enough*step*down) high = step;
        else if (inner(next.slope, d) < level*down) low = step;
        else break;
        step = high < Infinity ? (low + high)/2 : 4*step;
    }
    return {at, next};
}

/** @param {Cost} cost @param {Float64Array} x @param {number} steps */
function minimize(cost, x, steps) {
    const past = [];
    for (let here = cost(x); steps-- && here.slope.some(o => Math.abs(o) > flat);) {
        const d = direction(here.slope, past), {at, next} = search(cost, x, here, d, past.length ? 1 : 1/Math.sqrt(inner(d, d)));
        const s = at.map((o, i) => o - x[i]), y = next.slope.map((o, i) => o - here.slope[i]), curved = inner(s, y);
        const fell = (here.value - next.value)/Math.max(Math.abs(here.value), Math.abs(next.value), 1);
        if (fell > 0) [x, here] = [at, next];
        if (fell <= still || curved <= 0) break;
        past.push({s, y, r: 1/curved});
        if (past.length > memory) past.shift();
    }
    return x;
}

/** @param {ArrayLike<number>} z */
function logSum(z) {
    let top = -Infinity, sum = 0;
    for (let i = 0; i < z.length; i++) top = Math.max(top, z[i]);
    for (let i = 0; i < z.length; i++) sum += Math.exp(z[i] - top);
    return top + Math.log(sum);
}

/** @typedef {{row: Float64Array, want: number, weight: number, rival: number}} Example `want` is 0 for what is known, else the
 *     number of a new class, from 1 on */

/** What all rows have in common, and how large they are without it
 * @param {Example[]} examples @param {number} size */
function middle(examples, size) {
    const centre = new Float64Array(size);
    let squares = 0;
    for (const {row} of examples) { add(centre, 1/examples.length, row); squares += inner(row, row)/examples.length; }
    return {centre, scale: Math.sqrt(squares - inner(centre, centre))};
}

/** fit_rows: a row of weights, and a bias at its end, for each new class
 * @param {Example[]} examples @param {number} classes @param {number} size Of the basis @param {Teaching} t @returns {Float64Array[]} */
function fitRows(examples, classes, size, t) {
    const {centre, scale} = middle(examples, size), each = size + 1, z = new Float64Array(classes + 1);
    const numbers = Array.from({length: classes}, (_, c) => c), starts = numbers.map(c => c*each);
    /** @type {Cost} */
    const cost = p => {
        const slope = new Float64Array(p.length), total = new Float64Array(classes);
        const bias = starts.map(at => p[at + size] - inner(centre, p, size, at)/scale);
        let value = 0;
        for (const {row, want, weight, rival} of examples) {
            z[0] = rival;
            for (const c of numbers) z[c + 1] = bias[c] + inner(row, p, row.length, starts[c])/scale;
            const log = logSum(z);
            value -= weight*(z[want] - log);
            for (const c of numbers) {
                const by = weight*(Math.exp(z[c + 1] - log) - (want === c + 1 ? 1 : 0));
                total[c] += by;
                add(slope, by/scale, row, starts[c]);
            }
        }
        for (const c of numbers) {
            const at = starts[c], weights = p.subarray(at, at + size);
            value += t.weight_decay*inner(weights, weights)/2;
            add(slope, t.weight_decay, weights, at);
            add(slope, -total[c]/scale, centre, at);
            slope[at + size] = total[c];
        }
        return {value, slope};
    };
    const start = new Float64Array(classes*each), mean = examples.reduce((sum, o) => sum + o.rival, 0)/examples.length;
    for (const at of starts) start[at + size] = mean;
    const best = minimize(cost, start, t.steps);
    return starts.map(at => {
        const row = best.slice(at, at + each).map((o, i) => i < size ? o/scale : o);
        row[size] -= inner(centre, row);
        return row;
    });
}

// When is it sure?

/** numpy's quantile
 * @param {number[]} values @param {number} share */
function quantile(values, share) {
    const sorted = [...values].sort((a, b) => a - b), at = (sorted.length - 1)*share, i = Math.floor(at);
    return sorted[i] + (at - i)*((sorted[i + 1] ?? sorted[i]) - sorted[i]);
}

/** @param {ArrayLike<number>} values */
function first(values) {
    let best = 0;
    for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
    return best;
}
const most = (/** @type {ArrayLike<number>} */ values) => values[first(values)];

/** give_way
 * @param {number[]} ours @param {number[]} known @param {number} push @param {Teaching} t */
function giveWay(ours, known, push, t) {
    const top = most(known);
    return ours.map(z => top + Math.min(z - top, Math.max(z - top - push, t.hair*(z - top - push))));
}

/** _sure_from
 * @param {number[][]} ours @param {boolean[]} right @param {boolean[]} confident @param {number[][]} theirs
 * @param {number[]} strange @param {Teaching} t */
function sureFrom(ours, right, confident, theirs, strange, t) {
    const order = [...ours.keys()].filter(i => confident[i]).sort((a, b) => most(ours[b]) - most(ours[a]));
    let hits = 0, from = null;
    order.forEach((i, n) => {
        hits += right[i] ? 1 : 0;
        if (hits/(n + 1 + t.doubt) >= t.precision) from = most(ours[i]);
    });
    if (from === null) return t.never;
    const familiar = strange.length ? quantile(strange, 1 - t.strange_sure) : -Infinity;
    return Math.max(from, quantile(theirs.map(most), 1 - t.may_be_sure), familiar);
}

/** taught_rows, beside what is known
 * @param {Seen[]} looks @param {string[]} labels @param {Shoes} shoes @param {Basis} basis Whose first rows are those of `shoes`
 * @param {number} temperature @param {Teaching} t @returns {Rows} */
export function taughtRows(looks, labels, shoes, basis, temperature, t) {
    const known = shoes.features.length, which = looks.map(o => labels.indexOf(o.label)), classes = labels.length;
    basis.cut(known);
    for (const o of looks) o.features.forEach(x => basis.add(without(x, shoes.along)));
    const size = basis.rows.length, strength = (/** @type {Float32Array} */ z) => logSum(z.map(o => o/temperature));
    const rival = [...shoes.logits, ...looks.flatMap(o => o.logits)].map(strength);
    const nth = looks.map((o, i) => looks.slice(0, i).filter(p => p.label === o.label).length);
    /** Rows from all heaps but one, or without some of the classes
     * @param {number | null} heap @param {(which: number) => boolean} out */
    const fit = (heap, out = () => false) => {
        const rest = [...Array(known).keys()].filter(i => i%t.heaps !== heap);
        const taught = [...looks.keys()].filter(i => nth[i]%t.heaps !== heap && !out(which[i]))
            .flatMap(i => [0, 1].map(j => ({at: known + 2*i + j, i})));
        return fitRows([...taught.map(({at, i}) => ({row: basis.rows[at], want: which[i] + 1, weight: 1/taught.length, rival: rival[at]})),
            ...rest.map(i => ({row: basis.rows[i], want: 0, weight: 1/rest.length, rival: rival[i]}))], classes, size, t);
    };
    const heaps = Array.from({length: t.heaps}, (_, heap) => fit(heap)), rows = fit(null), parts = Math.min(t.heaps, classes);
    const others = parts > 1 ? Array.from({length: parts}, (_, part) => fit(null, o => o%parts === part)) : [];
    /** @param {number} i @param {number} heap */
    const asked = (i, heap, of = heaps) => of[heap].map(o => inner(basis.rows[i], o) + o[size]);
    const theirs = shoes.features.map((_, i) => asked(i, i%t.heaps));
    const over = theirs.map((o, i) => most(o) - most(shoes.logits[i])/temperature).filter((_, i) => shoes.right[i]);
    const push = Math.max(0, ...over), lower = (/** @type {number[]} */ o) => o.map(z => z - push);
    const own = looks.map((_, i) => asked(known + 2*i, nth[i]%t.heaps)), ours = own.map(lower);
    const strange = parts > 1 ? looks.map((_, i) => most(lower(asked(known + 2*i, which[i]%parts, others)))) : [];
    const scores = looks.map(({logits: [given]}, i) => {
        const others = [...given].map(z => z/temperature);
        return softmax([...giveWay(own[i], others, push, t), ...others], 1);
    });
    const confident = scores.map(o => most(o) >= t.likely && first(o) < classes);
    const from = sureFrom(ours, scores.map((o, i) => first(o) === which[i]), confident, theirs.map(lower), strange, t);
    return {weights: rows.map(o => without(basis.weights(o.subarray(0, size)), shoes.along).map(z => z*temperature)),
        bias: rows.map(o => o[size]*temperature), push: push*temperature, sureFrom: Math.min(from*temperature, t.never), scores,
        sure: confident.map((o, i) => o && most(ours[i]) >= from)};
}

// What it says of the photos

/** @param {Seen[]} looks */
function alikeShare(looks) {
    const n = looks.length, x = looks.map(({features: [o]}) => { const length = Math.sqrt(inner(o, o)); return o.map(z => z/length); });
    return (x.flatMap(a => x.map(b => inner(a, b))).reduce((a, b) => a + b, 0) - n)/(n*(n - 1));
}

/** @param {Seen[]} looks @param {number} within */
const oneBackground = (looks, within) => looks.every(o => o.plain) && [0, 1, 2].every(c => {
    const levels = looks.map(({plain}) => plain?.[c] ?? 0);
    return Math.max(...levels) - Math.min(...levels) <= within;
});

/** _advice
 * @param {Seen[]} looks @param {number} found @param {number} sure @param {[string, number][]} takenFor @param {Teaching} t */
function advice(looks, found, sure, takenFor, t) {
    const n = looks.length, all = [];
    if (n < 10) all.push(`${n} photos are few: ten or more, from several sides and in several places, would help most.`);
    if (!sure) all.push('It will hardly ever be called sure: for that it needs more photos, or photos that are more unlike the others.');
    if (alikeShare(looks) > t.alike) all.push('The photos show nearly the same. Take some from the front, from behind and from above.');
    if (oneBackground(looks, t.near_colours))
        all.push('All photos have the same plain background. Add some with another: on the floor, in the hand, on feet.');
    if (found < .7 && takenFor.length) all.push(`It is sometimes taken for ${takenFor[0][0]}. Photos that show what sets it apart would help.`);
    return all;
}

/** lesson: how well a class was taught
 * @param {string} label @param {Seen[]} looks All of them @param {Rows} rows @param {string[]} labels Of the columns of the scores
 * @param {string[]} names The same, for people @param {Teaching} t @returns {Lesson} */
export function lesson(label, looks, rows, labels, names, t) {
    const own = labels.indexOf(label), mine = [...looks.keys()].filter(i => looks[i].label === label);
    const called = mine.map(i => first(rows.scores[i])), n = mine.length;
    const found = called.filter(o => o === own).length/n, sure = mine.filter((i, j) => rows.sure[i] && called[j] === own).length/n;
    const wrong = called.filter(o => o !== own), kinds = [...new Set(wrong)];
    const counted = kinds.map(o => /** @type {[string, number]} */ ([names[o], wrong.filter(p => p === o).length]));
    const takenFor = counted.sort((a, b) => b[1] - a[1]);
    const odd = mine.filter((i, j) => called[j] !== own && rows.scores[i][own] < t.out_of_place);
    return {photos: n, found, sure, takenFor, odd, advice: advice(mine.map(i => looks[i]), found, sure, takenFor, t)};
}

/** Whether a photo shows to the network just what another shows, as it is or mirrored
 * @param {Float32Array[]} a Features of the one @param {Float32Array[]} b @param {number} from How alike they are then */
export function isCopy([x], b, from) {
    const length = Math.sqrt(inner(x, x));
    return b.some(y => inner(x, y) >= from*length*Math.sqrt(inner(y, y)));
}
