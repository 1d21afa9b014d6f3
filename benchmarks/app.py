"""The app under load, and its start beside that of an empty page

    python benchmarks/app.py [--requests 1000] [--clients 32] [--rounds 5]

Load: a page of its own process is asked by clients of another, all at once, about 16 drawn photos in turn, so that equal
photos are on their way at the same time. Each answer is compared to what the library says of the same file. Start: seconds
from starting Python to a page that answers, for app.py and for an empty `gr.Blocks`, by turns.
"""
import argparse, os, socket, statistics, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

empty = '''
import gradio as gr
with gr.Blocks() as app: pass
app.launch(server_name='127.0.0.1', server_port={port}, share=False, quiet=True)'''

def empty_page(port): return ['-c', empty.format(port=port)]
def our_page(port): return [str(Path(__file__).resolve().parent.parent/'app.py'), '--port', str(port)]


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def started(page, folder):
    "A page in a process of its own, its address, and the seconds until it answered"
    port,start = free_port(),time.perf_counter()
    env = dict(os.environ, TMPDIR=str(folder), TEMP=str(folder), GRADIO_ANALYTICS_ENABLED='False')
    run = subprocess.Popen([sys.executable, *page(port)], stdout=subprocess.DEVNULL, env=env)
    while run.poll() is None:
        try:
            if httpx.get(f'http://127.0.0.1:{port}/', timeout=60).status_code==200: return run, f'http://127.0.0.1:{port}/', time.perf_counter()-start
        except httpx.TransportError: time.sleep(.01)
    sys.exit('The page did not start.')

def ended(run):
    run.terminate()
    run.wait()

def measure_start(rounds, folder):
    seconds = {'empty':[], 'app':[]}
    for turn in range(rounds+1):
        for name,page in dict(empty=empty_page, app=our_page).items():
            run,_,took = started(page, folder)
            ended(run)
            if turn: seconds[name].append(took) # the first turn warms the file cache
    medians = {name:statistics.median(o) for name,o in seconds.items()}
    print(f"start to a page that answers, median of {rounds}: empty page {medians['empty']:.2f} s, app {medians['app']:.2f} s, {medians['app']/medians['empty']:.2f} times", flush=True)

def memory(pid):
    "Megabytes that a process holds (Linux)"
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1])*os.sysconf('SC_PAGESIZE')/1e6

def measure_load(requests, clients, folder):
    from gradio_client import Client, handle_file
    from sneaker_classifier import SneakerClassifier
    from sneaker_classifier.samples import make_samples
    photos = sorted(make_samples(folder/'photos', n=4, size=400).glob('*/*'))
    want = [(p.label, p.confidence) for p in map(SneakerClassifier.load().predict, photos)]
    (folder/'tmp').mkdir()
    run,url,_ = started(our_page, folder/'tmp')
    with ThreadPoolExecutor(clients) as pool: asked = list(pool.map(lambda _: Client(url, verbose=False), range(clients)))
    def ask(i):
        try: a = asked[i%clients].predict(handle_file(photos[i%len(photos)]), api_name='/predict')
        except Exception as e: return type(e).__name__
        label,confidence = want[i%len(photos)]
        return None if a['error'] is None and a['label']==label and abs(a['confidence']-confidence)<1e-3 else 'wrong answer'
    failed,held = [],[]
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for i,o in enumerate(pool.map(ask, range(requests)), 1):
            if o: failed.append(o)
            if i%(requests//10)==0: held.append(round(memory(run.pid)))
    took = time.perf_counter()-start
    # ONNX Runtime writes a file called .ses of its own.
    left = [o for o in (folder/'tmp').rglob('*') if o.is_file() and o.name!='.ses']
    ended(run)
    print(f'{requests} requests from {clients} clients at once: {len(failed)} failed {sorted(set(failed))}, {took:.1f} s, {requests/took:.1f} a second, '
        f'files left behind {[o.name for o in left]}, memory after each tenth {held} MB', flush=True)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--requests', type=int, default=1000); p.add_argument('--clients', type=int, default=32); p.add_argument('--rounds', type=int, default=5)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        measure_load(args.requests, args.clients, Path(d))
        measure_start(args.rounds, d)

if __name__=='__main__': main()
