"""How many requests does the page answer?

    python benchmarks/speed_app.py [--requests 1000] [--clients 32] [--rounds 5]

A page in a process of its own is asked by clients of another, all at once, about 16 drawn photos in turn, so that equal photos are on
their way at the same time. Each answer is compared to what the library says of the same file. The bare page is a `gr.Interface` around
`predict`. Start: from starting Python to a page that answers, for app.py and for an empty `gr.Blocks`, by turns.
"""
import os, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from threading import local

import httpx
from common import record, root
from fastcore.script import call_parse

from sneaker_classifier.guard import free_port

empty = '''
import gradio as gr
with gr.Blocks() as app: pass
app.launch(server_name='127.0.0.1', server_port={port}, share=False, quiet=True)'''

bare = '''
import gradio as gr
from sneaker_classifier import SneakerClassifier
clf = SneakerClassifier.load()
def predict(photo):
    p = clf.predict(photo)
    return dict(label=p.label, confidence=p.confidence, error=p.error)
app = gr.Interface(predict, gr.Image(type='filepath'), gr.JSON(), api_name='predict', flagging_mode='never')
app.queue(default_concurrency_limit=4).launch(server_name='127.0.0.1', server_port={port}, share=False, quiet=True)'''

pages = {'empty page':lambda port: ['-c', empty.format(port=port)], 'bare page':lambda port: ['-c', bare.format(port=port)],
    'ours':lambda port: [str(root/'app.py'), '--port', str(port)]}

def started(page, folder):
    "A page in a process of its own, its address, and the seconds until it answered"
    port,start = free_port('127.0.0.1', 0),time.perf_counter()
    env = dict(os.environ, TMPDIR=str(folder), TEMP=str(folder), GRADIO_ANALYTICS_ENABLED='False')
    run = subprocess.Popen([sys.executable, *page(port)], stdout=subprocess.DEVNULL, env=env)
    while run.poll() is None:
        try:
            if httpx.get(f'http://127.0.0.1:{port}/', timeout=60, trust_env=False).status_code==200:
                return run, f'http://127.0.0.1:{port}/', time.perf_counter()-start
        except httpx.TransportError: time.sleep(.01)
    sys.exit('The page did not start.')

def ended(run):
    run.terminate()
    run.wait()

def measure_start(rounds, folder):
    seconds = {'empty page':[], 'ours':[]}
    for turn in range(rounds+1):
        for name,taken in seconds.items():
            run,_,took = started(pages[name], folder)
            ended(run)
            if turn: taken.append(took) # the first turn warms the file cache
    ours,bare = (median(seconds[o]) for o in ('ours', 'empty page'))
    return dict(what='from starting Python to a page that answers', ours=ours, unit='s', peer='empty `gr.Blocks`', theirs=bare)

def memory(pid):
    "Megabytes that a process holds (Linux)"
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1])*os.sysconf('SC_PAGESIZE')/1e6

def asker(url, photos, want):
    "A function of a number: asks about that photo, and says what was wrong with the answer; each thread has a client of its own"
    from gradio_client import Client, handle_file
    mine = local()
    def ask(i):
        if not hasattr(mine, 'client'): mine.client = Client(url, verbose=False, httpx_kwargs=dict(trust_env=False))
        try: a = mine.client.predict(handle_file(photos[i%len(photos)]), api_name='/predict')
        except Exception as e: return type(e).__name__
        label,confidence = want[i%len(photos)]
        return None if a['error'] is None and a['label']==label and abs(a['confidence']-confidence)<1e-3 else 'wrong answer'
    return ask

def measure_load(page, requests, clients, photos, want, folder):
    "Requests a second, what failed, files left behind, and the memory after each tenth"
    folder.mkdir()
    run,url,_ = started(page, folder)
    ask,failed,held = asker(url, photos, want),[],[]
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(clients))) # each thread makes its client
        start = time.perf_counter()
        for i,o in enumerate(pool.map(ask, range(requests)), 1):
            if o: failed.append(o)
            if i%(requests//10)==0: held.append(memory(run.pid))
        took = time.perf_counter()-start
    # ONNX Runtime writes a file called .ses of its own.
    left = [o for o in folder.rglob('*') if o.is_file() and o.name!='.ses']
    ended(run)
    return requests/took,failed,left,held

@call_parse
def main(
    requests:int=1000, # Questions to each page
    clients:int=32,    # Asked at once
    rounds:int=5       # Starts of each page
):
    from sneaker_classifier import SneakerClassifier
    from sneaker_classifier.samples import make_samples
    with tempfile.TemporaryDirectory() as d:
        photos = sorted(make_samples(Path(d)/'photos', n=4, size=400).glob('*/*'))
        want = [(p.label, p.confidence) for p in map(SneakerClassifier.load().predict, photos)]
        speed,failed,left,held = measure_load(pages['ours'], requests, clients, photos, want, Path(d)/'ours')
        bare_speed,bare_failed,*_ = measure_load(pages['bare page'], requests, clients, photos, want, Path(d)/'bare')
        said = f'memory after the first and last tenth: {held[0]:.0f} and {held[-1]:.0f} MB'
        load = dict(what=f'{requests:,} requests from {clients} clients', ours=speed, unit='a second', theirs=bare_speed, remark=said)
        lost = dict(what='of these failed or answered wrongly', ours=len(failed), unit='', theirs=len(bare_failed))
        kept = dict(what='files that are left behind', ours=len(left), unit='')
        record('speed_app', [*(o|dict(peer='bare Gradio page') for o in (load, lost)), kept, measure_start(rounds, d)])
