"""How quickly are pictures downloaded?

    python benchmarks/speed_download.py [--peers PYTHON] [--n 2000]

A local server with 32 addresses (127.0.0.1 to 127.0.0.32, which Linux has), one program after the other, 32 downloads at a time each.
First all pictures are sound. Then a fifth of the web is broken, turns in circles or never ends, and some of the rest is slow or busy.
PYTHON has img2dataset.
"""
import io, os, signal, subprocess, sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from common import record, root
from fastcore.script import call_parse
from PIL import Image

sys.path.insert(0, str(root/'tests'))
from local_web import LocalWeb, mixed_paths

from sneaker_classifier.samples import draw_shoe
from sneaker_classifier.settings import load_settings

start = '''
import resource, sys, time
from pathlib import Path
folder,port = Path(sys.argv[1]),int(sys.argv[2])
urls = (folder/'urls.txt').read_text().split()
def done(begin):
    most = sum(resource.getrusage(o).ru_maxrss for o in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))/1e3
    print('DONE', time.perf_counter()-begin, most)
'''
ours = start+'''
from dataclasses import replace
from sneaker_classifier import scrape as sc
from sneaker_classifier.settings import load_settings
s = load_settings()
s = replace(s, scrape=replace(s.scrape, ports=(port,), read_timeout=4, file_timeout=10))
begin = time.perf_counter()
sc.download_images([sc.ImageResult(u, 'shoe') for u in urls], folder/'out', 'shoe', settings=s, allow_networks=('127.0.0.0/8',))
done(begin)
'''
fastai = start+'''
from fastai.vision.all import download_images, get_image_files, verify_images
(folder/'out').mkdir()
begin = time.perf_counter()
download_images(folder/'out', urls=urls, n_workers=32, preserve_filename=False)
if {verify}: verify_images(get_image_files(folder/'out')).map(Path.unlink)
done(begin)
'''
img2dataset = start+'''
from img2dataset import download
if __name__ == '__main__':
    begin = time.perf_counter()
    download(url_list=str(folder/'urls.txt'), output_folder=str(folder/'out'), processes_count=2, thread_count=16,
        number_sample_per_shard=250, output_format='files', resize_mode='no', skip_reencode=True, timeout=10,
        disallowed_header_directives=[])
    done(begin)
'''


def drawn(n):
    "Different JPEG files of drawn shoes, about the size of a photo in a shop"
    classes,files = list(load_settings().classes.values()),[]
    shoes = [draw_shoe(classes[i%len(classes)], seed=i, size=320) for i in range(40)]
    for i in range(n):
        out,side = io.BytesIO(),600+i//40
        shoes[i%40].resize((side, side)).save(out, 'JPEG', quality=90)
        files.append(out.getvalue())
    return files


def sound(folder):
    "How many different sound pictures a program has left in a folder"
    kept = set()
    for f in folder.rglob('*'):
        if f.suffix not in ('.jpg', '.jpeg', '.png') or f.name.startswith('.'): continue
        try:
            with Image.open(f) as im: im.load()
            kept.add(f.read_bytes())
        except Exception: pass   # which is what this counts
    return len(kept)


def measure(python, code, files, hosts, paths, limit):
    "Seconds, megabytes at most and sound pictures of one program"
    with TemporaryDirectory() as d, LocalWeb(files, hosts=hosts, slow=1.) as web:
        (Path(d)/'urls.txt').write_text('\n'.join(web.url(o, hosts[i%len(hosts)]) for i,o in enumerate(paths)))
        (Path(d)/'run.py').write_text(code)
        quiet = dict(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        p = subprocess.Popen([python, Path(d)/'run.py', d, str(web.port)], start_new_session=True, **quiet)
        try: said = next((o for o in p.communicate(timeout=limit)[0].splitlines() if o.startswith('DONE')), 'DONE nan nan')
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.communicate()
            said = 'DONE inf nan'
        _,seconds,most = said.split()
        return float(seconds), float(most), sound(Path(d)/'out')


@call_parse
def main(
    peers:str=None, # A Python with img2dataset
    n:int=2000,     # Pictures
    limit:int=60,   # Seconds after which a program is stopped
    rounds:int=3    # Of the sound web
):
    hosts,files = [f'127.0.0.{i}' for i in range(1, 33)],drawn(n)
    programs = {'ours':(sys.executable, ours), 'fastai `download_images`':(sys.executable, fastai.replace('{verify}', 'False')),
        'fastai, and `verify_images`':(sys.executable, fastai.replace('{verify}', 'True'))}
    if peers: programs['img2dataset'] = peers, img2dataset
    rows = []
    for web,paths,turns in [('sound', [f'/good/{i}' for i in range(n)], rounds), ('mixed', mixed_paths(n), 1)]:
        got = {name:[measure(python, code, files, hosts, paths, limit) for _ in range(turns)] for name,(python,code) in programs.items()}
        # A program that was stopped has what it had until then.
        speed = {name:median(kept/min(seconds, limit) for seconds,_,kept in runs) for name,runs in got.items()}
        kept = {name:min(o[2] for o in runs) for name,runs in got.items()}
        held = {name:max(o[1] for o in runs) for name,runs in got.items()}
        for name in programs:
            if name=='ours': continue
            said = f"at most {held['ours']:.0f} MB beside {held[name]:.0f}"
            rows += [dict(what=f'{web} web', ours=speed['ours'], unit='pictures a second', peer=name, theirs=speed[name], remark=said),
                dict(what=f'{web} web, good pictures kept', ours=kept['ours'], unit='', peer=name, theirs=kept[name])]
    record('speed_download', rows)
