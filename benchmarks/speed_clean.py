"""How quickly are full-size photos cleaned?

    python benchmarks/speed_clean.py FOLDER [--each 10]

From each photo below FOLDER others are made, none of which is a copy of another: a part of 60 to 70% of it, at a random place, turned by
a random quarter, a little lighter or darker, enlarged to the size that the photo had. Pillow alone opens each file, reduces it with
`thumbnail` (which unpacks a JPEG at reduced scale) and encodes it as a JPEG of the same size and quality, in as many processes.
"""
import shutil, tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from common import by_turns, ratio, record
from fastcore.script import call_parse
from PIL import Image, ImageEnhance, ImageOps
from sneaker_classifier.clean import clean_images
from sneaker_classifier.files import usable_cores

def make(path, out, each):
    "`each` photos of full size from one"
    with Image.open(path) as im: im = im.convert('RGB')
    for i in range(each):
        rng = np.random.default_rng([i, len(path.name), path.stat().st_size])
        w,h = (round(o*rng.uniform(.6, .7)) for o in im.size)
        x,y = rng.integers(0, im.width-w+1),rng.integers(0, im.height-h+1)
        part = im.resize(im.size, Image.Resampling.BICUBIC, box=(x, y, x+w, y+h)).rotate(90*rng.integers(4), expand=True)
        ImageEnhance.Brightness(part).enhance(rng.uniform(.8, 1.2)).save(out/f'{path.stem}-{i:02d}.jpg', quality=92)

def pillow_alone(src, dst):
    im = Image.open(src)
    im.thumbnail((1024, 1024), Image.Resampling.LANCZOS)
    ImageOps.exif_transpose(im).convert('RGB').save(dst, 'JPEG', quality=90, optimize=True)

def all_with_pillow(files, out):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    with ProcessPoolExecutor(usable_cores()) as pool: list(pool.map(pillow_alone, files, [out/f.name for f in files]))

def cleaned(raw, out):
    shutil.rmtree(out, ignore_errors=True)
    return clean_images(raw, out, progress=False)

@call_parse
def main(
    photos:str,  # Folder of full-size photos
    each:int=10, # How many are made from each of them
    rounds:int=5 # Turns of each way
):
    with tempfile.TemporaryDirectory() as d:
        folder = Path(d)/'raw'/'shoes'
        folder.mkdir(parents=True)
        for o in sorted(o for o in Path(photos).rglob('*') if o.is_file()): make(o, folder, each)
        files = sorted(folder.iterdir())
        ways = dict(ours=lambda _: cleaned(folder.parent, Path(d)/'clean'), pillow=lambda _: all_with_pillow(files, Path(d)/'flat'))
        t = by_turns(ways, rounds)
        ours,pillow = (len(files)/median(t[o]) for o in ('ours', 'pillow'))
        size = sum(o.stat().st_size for o in files)/len(files)/1e6
        said = f"median of the ratios {ratio(t['pillow'], t['ours']):.2f}"
        what = f'{len(files)} photos of {size:.1f} MB cleaned'
        record('speed_clean', [dict(what=what, ours=ours, unit='a second', peer='Pillow alone', theirs=pillow, remark=said)])
