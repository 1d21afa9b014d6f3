// Keeps the files of one version of the page, all of them or none, so that it works without a connection.
// sneaker-web puts the version and the sha256 of each file here, so that another model is another version.
const site = {version: '', files: /** @type {Record<string, string>} */ ({})};

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
// Other pages of the same host have stores of their own.
const ours = `sneakers ${worker.registration.scope} `, store = ours + site.version;

/** @param {Cache} cache @param {string} path @param {string} sha256 */
async function keep(cache, path, sha256) {
    const said = await fetch(path, {cache: 'no-cache'});
    const data = await said.clone().arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    const found = Array.from(digest, o => o.toString(16).padStart(2, '0')).join('');
    // A site that is just being put up: the browser tries again at the next visit.
    if (!said.ok || found !== sha256) throw Error(`${path} does not belong to this version.`);
    await cache.put(path, said);
}

worker.addEventListener('install', e => e.waitUntil((async () => {
    const cache = await caches.open(store);
    try { await Promise.all(Object.entries(site.files).map(([path, sha256]) => keep(cache, path, sha256))); }
    catch (error) { await caches.delete(store); throw error; }
})()));

worker.addEventListener('activate', e => e.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith(ours) && name !== store) await caches.delete(name);
    await worker.clients.claim();
})()));

worker.addEventListener('message', e => { if (e.data === 'take over') worker.skipWaiting(); });

worker.addEventListener('fetch', e => {
    if (e.request.method !== 'GET' || !e.request.url.startsWith(worker.registration.scope)) return;
    e.respondWith((async () => {
        const cache = await caches.open(store), folder = e.request.url.replace(/[?#].*/, '').endsWith('/');
        return await cache.match(folder ? 'index.html' : e.request, {ignoreSearch: true}) ?? fetch(e.request);
    })());
});
