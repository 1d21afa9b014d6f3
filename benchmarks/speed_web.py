"""How quick is the page without a server?

    python benchmarks/speed_web.py [--model MODEL] [--photos FOLDER]

In Chromium. A first visit goes from the address to "Ready.", when a photo is answered at once; a second one has everything from the
browser's own store. The slow line has 1.6 megabits a second and answers after 150 ms, as a fast 3G does; files are packed as hosts pack
them. Answers are measured beside one thread of Python in one run, for drawn JPEGs of 1,000 pixels and for the photos of FOLDER.
"""
import shutil, time
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from common import bundled, by_turns, ratio, record
from fastcore.script import call_parse
from speed_predict import drawn
from web_page import Slow, ask, chromium, served

from sneaker_classifier import SneakerClassifier
from sneaker_classifier.predict import find_pictures
from sneaker_classifier.web import write_page

def visits(address, photo, rounds, again=True):
    "Seconds to be ready at a first visit, from there to an answer, and to be ready at a second visit, if there is one; and megabytes"
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox', '--disable-gpu'])
        for _ in range(rounds):
            page = browser.new_context().new_page()
            page.set_default_timeout(300_000)
            def ready():
                start = time.perf_counter()
                page.goto(address)
                page.wait_for_selector('#status:text-is("Ready.")')
                return time.perf_counter()-start
            first,sent = ready(),Slow.sent/1e6
            start = time.perf_counter()
            page.set_input_files('#file', photo)
            page.wait_for_selector('figure')
            answered = time.perf_counter()-start
            if again: page.evaluate('navigator.serviceWorker.ready.then(() => 0)')
            yield first, answered, ready() if again else None, sent
            page.context.close()
        browser.close()

def loading(site, photo, rounds):
    with served(site) as address: first,answered,second,_ = map(median, zip(*visits(address, photo, rounds)))
    with served(site, kind=Slow) as address: (slow,_,_,sent), = visits(address, photo, 1, again=False)
    return [dict(what='first visit, ready', ours=first, unit='s'), dict(what='its first photo, answered', ours=answered, unit='s'),
        dict(what='second visit, ready', ours=second, unit='s'), dict(what='first visit over a slow line, ready', ours=slow, unit='s'),
        dict(what='what it fetches until then', ours=sent, unit='MB')]

def answering(what, site, model, files, rounds):
    clf,seconds = SneakerClassifier.load(model),[]
    with served(site, files) as address, chromium(address) as run:
        t = by_turns(dict(page=lambda i: seconds.append(run(ask, f'/photos/{i%len(files)}')['seconds']),
            python=lambda i: list(clf.predict_many([files[i%len(files)]]))), rounds)
    ours,python = 1e3*median(seconds[1:]),1e3*median(t['python'])
    said = f'median of the ratios {ratio(seconds[1:], t["python"]):.2f}'
    return dict(what=f'{what}, from file to answer and map', ours=ours, unit='ms', peer='one thread of Python, without a map',
        theirs=python, remark=said)

@call_parse
def main(
    model:str=str(bundled), # Model folder
    photos:str=None,        # Folder of full-size photos
    rounds:int=60           # Of answers
):
    with TemporaryDirectory() as d:
        site = Path(d)/'site'
        write_page(SneakerClassifier.load(model), site)
        (Path(d)/'drawn').mkdir()
        shoes = drawn(Path(d)/'drawn')
        rows = [answering('a drawing of 1,000 pixels', site, model, shoes, rounds)]
        if photos: rows.append(answering('one full-size photo', site, model, list(islice(find_pictures(photos), 40)), rounds))
        record('speed_web', [*rows, *loading(site, shoes[0], 5)])
