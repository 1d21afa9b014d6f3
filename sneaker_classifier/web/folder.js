// A model folder of what was taught, as 15_teach.ipynb writes it, in a zip.

/** @typedef {import('./answers.js').Card} Card */
/** @typedef {import('./teach.js').Rows} Rows */
/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

const text = (/** @type {string} */ o) => /** @type {Bytes} */ (new TextEncoder().encode(o));

/** @param {Bytes[]} parts */
function joined(parts) {
    const all = new Uint8Array(parts.reduce((sum, o) => sum + o.length, 0));
    let at = 0;
    for (const o of parts) { all.set(o, at); at += o.length; }
    return all;
}

/** @param {ArrayBuffer | Bytes} data */
export async function sha256(data) {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    return Array.from(digest, o => o.toString(16).padStart(2, '0')).join('');
}

// Protocol buffers, in which a network is written: a message is a row of fields, and a field has a number and a value, which is
// a whole number, or bytes: text, numbers or another message (https://protobuf.dev/programming-guides/encoding)

/** @typedef {{number: number, whole: Bytes, data: Bytes}} Field `whole` is all of it, `data` its bytes */

/** @param {Bytes} message @returns {Field[]} */
function fields(message) {
    const found = [];
    let at = 0;
    const number = () => {
        let value = 0, times = 1, byte;
        do { byte = message[at++]; value += (byte & 127)*times; times *= 128; } while (byte > 127);
        return value;
    };
    while (at < message.length) {
        const start = at, tag = number(), kind = tag & 7;
        const length = kind === 2 ? number() : kind === 1 ? 8 : kind === 5 ? 4 : (number(), 0);
        found.push({number: tag >> 3, data: message.subarray(at, at + length), whole: message.subarray(start, at += length)});
    }
    return found;
}

/** @param {number} value */
function varint(value) {
    const bytes = [];
    for (; value > 127; value = Math.floor(value/128)) bytes.push(value%128 + 128);
    return Uint8Array.of(...bytes, value);
}

/** @param {number} number @param {Bytes | string | number} value */
function field(number, value) {
    if (typeof value === 'number') return joined([varint(number*8), varint(value)]);
    const data = typeof value === 'string' ? text(value) : value;
    return joined([varint(number*8 + 2), varint(data.length), data]);
}

/** A message in which fields of a number are changed, or those of the message in such a field, and so on
 * @param {Bytes} message @param {number[]} path Numbers @param {(data: Bytes, nth: number) => Bytes} change */
function changed(message, [number, ...path], change) {
    let nth = 0;
    /** @type {(data: Bytes) => Bytes} */
    const one = data => path.length ? changed(data, path, change) : change(data, nth++);
    return joined(fields(message).map(o => o.number === number ? field(number, one(o.data)) : o.whole));
}

// The network, whose format is in onnx.proto

const model = {graph: 7}, graph = {node: 1, initializer: 5, output: 12}, node = {input: 1, output: 2, op: 4, attribute: 5};
const tensor = {dims: 1, type: 2, name: 8, data: 9}, float = 1, int = 7, named = 1, sizes = [2, 1, 2], size = {dim: 1, value: 1};
const answers = ['logits', 'evidence'];

/** @param {Bytes} message @param {number} number */
const texts = (message, number) => fields(message).filter(o => o.number === number).map(o => new TextDecoder().decode(o.data));

/** @param {string} name @param {number[]} dims @param {Float32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>} data */
const stored = (name, dims, data) => field(graph.initializer, joined([...dims.map(o => field(tensor.dims, o)),
    field(tensor.type, data instanceof Float32Array ? float : int), field(tensor.name, name),
    field(tensor.data, new Uint8Array(data.buffer))]));

/** @param {string} op @param {string[]} inputs @param {string} output @param {Bytes[]} attributes */
const made = (op, inputs, output, ...attributes) => field(graph.node, joined([...inputs.map(o => field(node.input, o)),
    field(node.output, output), field(node.op, op), ...attributes.map(o => field(node.attribute, o))]));

/** AttributeProto: its name, a number, and that it is a number
 * @param {string} name @param {number} value */
const attribute = (name, value) => joined([field(1, name), field(3, value), field(20, 2)]);

/** A node whose answers have another name, since others will have theirs
 * @param {Bytes} data */
const renamed = data => changed(data, [node.output], o => {
    const name = new TextDecoder().decode(o);
    return answers.includes(name) ? text(`known.${name}`) : o;
});

/** An output with another number of classes
 * @param {Bytes} data @param {number} classes */
const widened = (data, classes) => changed(data, sizes, shape =>
    changed(shape, [size.dim], (o, nth) => nth === 1 ? field(size.value, classes) : o));

/** _given_way
 * @param {number} push @param {number} hair */
const givenWay = (push, hair) => [stored('taught.classes', [1], BigInt64Array.of(1n)),
    stored('taught.hair', [], Float32Array.of(hair)), stored('taught.push', [], Float32Array.of(push)),
    made('ReduceMax', ['known.logits', 'taught.classes'], 'known.top'), made('Sub', ['taught.logits', 'known.top'], 'taught.lead'),
    made('Sub', ['taught.lead', 'taught.push'], 'taught.ahead'), made('Mul', ['taught.ahead', 'taught.hair'], 'taught.next'),
    made('Max', ['taught.ahead', 'taught.next'], 'taught.left'), made('Min', ['taught.lead', 'taught.left'], 'taught.said'),
    made('Add', ['known.top', 'taught.said'], 'beside.logits'), made('Sub', ['taught.lead', 'taught.said'], 'taught.by'),
    made('Unsqueeze', ['taught.by', 'taught.axes'], 'taught.by_map'), made('Sub', ['taught.evidence', 'taught.by_map'], 'beside.evidence')];

/** with_head: the same network with further rows
 * @param {Bytes} network ONNX @param {Rows} rows @param {number} classes All of them @param {number} hair */
export function withHead(network, {weights, bias, push}, classes, hair) {
    const [w, b, axes, kernel] = ['weights', 'bias', 'axes', 'kernel'].map(o => `taught.${o}`);
    const added = [stored(w, [weights.length, weights[0].length], new Float32Array(weights.flatMap(o => [...o]))),
        stored(b, [bias.length], new Float32Array(bias)), stored(axes, [2], BigInt64Array.of(2n, 3n))];
    return changed(network, [model.graph], data => {
        const parts = fields(data), nodes = parts.filter(o => o.number === graph.node);
        const [grid] = nodes.filter(o => texts(o.data, node.output).includes('features')).flatMap(o => texts(o.data, node.input));
        const head = [made('Gemm', ['features', w, b], 'taught.logits', attribute('transB', 1)), made('Unsqueeze', [w, axes], kernel),
            made('Conv', [grid, kernel, b], 'taught.evidence'), ...givenWay(push, hair),
            ...answers.map(o => made('Concat', [`known.${o}`, `beside.${o}`], o, attribute('axis', 1)))];
        const sized = (/** @type {Field} */ o) => o.number === graph.output && answers.includes(texts(o.data, named)[0]);
        const before = parts.map(o => o.number === graph.node ? field(graph.node, renamed(o.data))
            : sized(o) ? field(graph.output, widened(o.data, classes)) : o.whole);
        return joined([...before, ...head, ...added]);
    });
}

// The description

/** @typedef {{label: string, brand: string, model: string, photos: number}} New */
/** @typedef {{base: string, base_sha256: string, beside: true, photos: Record<string, number>, created: string}} Origin */

/** model.json, but for the sha256 of files
 * @param {Card} card @param {New[]} classes @param {Rows} rows @param {string} base @returns {Card} */
export function taughtCard(card, classes, rows, base) {
    const added = classes.map(({photos, ...o}) => ({...o, pictures: [photos, 0], taught: photos, sure_from: rows.sureFrom}));
    /** @type {Origin} */
    const taught = {base, base_sha256: card.sha256['model.onnx'], beside: true,
        photos: Object.fromEntries(classes.map(o => [o.label, o.photos])), created: new Date().toISOString().replace(/\.\d+Z$/, '+00:00')};
    const {detail, temperature, sure_from, lead_from, brand_sure_from} = card;
    // JSON leaves out what is undefined.
    return {format: 6, classes: [...card.classes, ...added], detail, temperature, sure_from, lead_from, brand_sure_from, taught,
        provenance: {...card.provenance, taught}, sha256: {}};
}

/** @param {string} base @param {string[]} lessons */
export const about = (base, lessons) => `# Model card: taught\n\nThese classes were taught to the network of ${base} from a few photos `
    + `each, by new rows in its last layer.\n\n${lessons.map(o => `- ${o}`).join('\n')}\n`;

// The zip, whose files are stored as they are: networks hardly shrink (APPNOTE.TXT of PKWARE, 4.3)

const remainders = Uint32Array.from({length: 256}, (_, i) => {
    for (let bit = 0; bit < 8; bit++) i = i & 1 ? 0xedb88320 ^ i >>> 1 : i >>> 1;
    return i;
});

/** @param {Bytes} data */
function crc32(data) {
    let crc = -1;
    for (let i = 0; i < data.length; i++) crc = remainders[(crc ^ data[i]) & 255] ^ crc >>> 8;
    return ~crc >>> 0;
}

/** Numbers of two and four bytes, the lowest byte first
 * @param {[number, number][]} numbers Each with its bytes */
const bytes = numbers => Uint8Array.from(numbers.flatMap(([o, n]) => Array.from({length: n}, (_, i) => o >>> 8*i & 255)));

/** @param {Record<string, Bytes | string>} files */
export function zip(files) {
    const parts = [], table = [], unicode = 1 << 11, day = 1 << 5 | 1; // 1 January 1980, the first that a zip can tell
    let at = 0, n = 0;
    for (const [path, given] of Object.entries(files)) {
        const name = text(path), data = typeof given === 'string' ? text(given) : given;
        /** @type {[number, number][]} */
        const about = [[20, 2], [unicode, 2], [0, 2], [0, 2], [day, 2], [crc32(data), 4], [data.length, 4], [data.length, 4],
            [name.length, 2], [0, 2]];
        const local = [bytes([[0x04034b50, 4], ...about]), name, data];
        parts.push(...local);
        table.push(bytes([[0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]]), name);
        at += local.reduce((sum, o) => sum + o.length, 0);
        n++;
    }
    const end = bytes([[0x06054b50, 4], [0, 2], [0, 2], [n, 2], [n, 2], [joined(table).length, 4], [at, 4], [0, 2]]);
    return new Blob([...parts, ...table, end], {type: 'application/zip'});
}
