"What the benchmarks of the page without a server share: a server for its folder and for photos, and a browser that asks it"
import gzip, shutil, time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import unquote

# Asks the page's own worker, without the page around it; the bytes come from this machine's server.
ask = """async path => {
    self.asking ??= new Worker('/worker.js', {type: 'module'});
    const file = await (await fetch(path)).blob(), start = performance.now();
    return new Promise((done, failed) => {
        self.asking.onerror = e => failed(Error(e.message));
        self.asking.onmessage = ({data}) => {
            if (data.kind === 'failed') failed(Error(data.said));
            if (data.kind !== 'answer') return;
            if (data.error) return done({error: data.error});
            data.photo.close();
            done({...data.answer, seconds: (performance.now() - start)/1000});
        };
        self.asking.postMessage({id: 1, file, box: null});
    });
}"""

# Teaches that worker photos of each name, once it has answered, and gives the zip to take along.
teach = """async lessons => {
    const heard = kind => new Promise(done => { self.asking.onmessage = ({data}) => { if (data.kind === kind) done(data); }; });
    for (const [name, paths] of Object.entries(lessons)) {
        const photos = await Promise.all(paths.map(async path => ({name: path, file: await (await fetch(path)).blob()})));
        self.asking.postMessage({teach: {name, photos}});
        await heard('taught');
    }
    self.asking.postMessage({folder: true});
    const {zip} = await heard('folder'), reader = new FileReader();
    return new Promise(done => { reader.onload = () => done(reader.result.split(',')[1]); reader.readAsDataURL(zip); });
}"""

class _Files(SimpleHTTPRequestHandler):
    "Files of the page, and photos by their number"
    photos = ()
    def translate_path(self, path):
        return str(self.photos[int(path[8:])]) if path.startswith('/photos/') else super().translate_path(unquote(path))
    def log_message(self, *args): pass

packed_kinds = '.html', '.js', '.mjs', '.css', '.json', '.wasm'

class Slow(_Files):
    "Packs what can be packed, as hosts do, and sends so many bytes a second in all, each answer after a while"
    # A line goes on while this machine is busy with something else: what it was late with, by so many seconds, follows at once.
    speed,delay,late,line,free,sent = 1.6e6/8,.15,.25,Lock(),0,0
    def do_GET(self):
        time.sleep(self.delay)
        path = self.translate_path(self.path.partition('?')[0])
        if path.endswith('/'): path += 'index.html'
        with open(path, 'rb') as f: data = f.read()
        packs = path.endswith(packed_kinds)
        if packs: data = gzip.compress(data)
        self.send_response(200)
        self.send_header('Content-Type', self.guess_type(path))
        self.send_header('Content-Length', str(len(data)))
        self.send_header('Cache-Control', 'max-age=600')
        if packs: self.send_header('Content-Encoding', 'gzip')
        self.end_headers()
        for at in range(0, len(data), 8192):
            part = data[at:at+8192]
            with self.line:
                Slow.free = max(Slow.free, time.monotonic()-self.late)+len(part)/self.speed
                Slow.sent += len(part)
                until = Slow.free
            time.sleep(max(0, until-time.monotonic()))
            self.wfile.write(part)

class _Server(ThreadingHTTPServer):
    request_queue_size = 128   # A page asks for everything at once, and a call that is not taken up waits for seconds.
    def handle_error(self, *args): pass   # a browser that was closed

@contextmanager
def served(folder, photos=(), kind=_Files):
    "The address of a server of this machine, as long as it is needed"
    handler = type('Files', (kind,), dict(photos=photos))
    server = _Server(('127.0.0.1', 0), partial(handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_port}/'
    finally: server.shutdown()

@contextmanager
def chromium(address):
    "A function that runs `ask` or `teach` there"
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox', '--disable-gpu'])
        page = browser.new_page()
        page.goto(f'{address}style.css')
        yield page.evaluate
        browser.close()

@contextmanager
def firefox(address):
    "The same in Firefox: pip install selenium, which finds a geckodriver or fetches one"
    from selenium import webdriver
    options = webdriver.FirefoxOptions()
    options.add_argument('-headless')
    browser = webdriver.Firefox(options=options, service=webdriver.FirefoxService(shutil.which('geckodriver')))
    browser.set_script_timeout(120)
    browser.get(f'{address}style.css')
    start,end = 'const done = arguments[1]; (',')(arguments[0]).then(done, e => done({error: String(e)}));'
    yield lambda script, given: browser.execute_async_script(start+script+end, given)
    browser.quit()

browsers = dict(chromium=chromium, firefox=firefox)
