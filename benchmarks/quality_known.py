"""Are learned photos known again as other files?

    python benchmarks/quality_known.py FOLDER [--model MODEL] [--n 300]

FOLDER has a manifest.csv. `n` of the photos that the model has learned are saved anew, reduced, framed, cropped, cleaned and mirrored;
photos in no split.csv are the new ones. The peer looks at the same pictures: the perceptual hash of imagehash, two bits apart at most.
"""
import io, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import numpy as np
from common import bundled, jpeg as jpeg_bytes, photos as listed, record
from fastcore.script import call_parse
from PIL import Image, ImageOps

from sneaker_classifier.copies import Familiar
from sneaker_classifier.data import picture_id, read_split
from sneaker_classifier.files import usable_cores
from sneaker_classifier.images import open_image, sanitize

def jpeg(im, quality=85): return Image.open(io.BytesIO(jpeg_bytes(im, quality))).convert('RGB')

edits = {
    'saved anew, quality 60': lambda im: jpeg(im, 60),
    'reduced to 70%': lambda im: jpeg(im.resize([max(16, round(.7*o)) for o in im.size], Image.Resampling.LANCZOS)),
    'framed by 3%': lambda im: jpeg(ImageOps.expand(im, max(1, round(.03*max(im.size))), 'navy')),
    'cropped by 3% at two sides': lambda im: jpeg(im.crop((round(.03*im.width), 0, im.width, round(.97*im.height)))),
    'cropped by 3% all around': lambda im: jpeg(im.crop([round(s*o) for s in (.03, .97) for o in im.size])),
    'cleaned': lambda im: Image.open(io.BytesIO(sanitize(im))).convert('RGB'),
    'mirrored': lambda im: jpeg(ImageOps.mirror(im))}

class Hashes:
    "The peer: imagehash.phash, and how many bits may differ"
    def __init__(self, files, most):
        self.most = most
        self.hashes = np.array([self.of(open_image(f)) for f in files])
    def of(self, im): return np.uint64(int(str(imagehash.phash(im)), 16))
    def find(self, im): return np.flatnonzero(np.bitwise_count(self.hashes^self.of(im))<=self.most)

def shares(ways, files, edit, said, pool):
    "Which share of the files `said` is true of, for each way, and seconds"
    pictures = list(pool.map(lambda f: edit(open_image(f)), files))
    for way,known in ways.items():
        start = time.perf_counter()
        share = np.mean([said(known.find(im), i) for i,im in zip(files.index, pictures)])
        yield way,100*share,time.perf_counter()-start

@call_parse
def main(
    photos:str,             # Folder with a manifest
    model:str=str(bundled), # Model folder
    n:int=300               # How many learned photos are edited
):
    split,items = read_split(Path(model)),listed(photos)
    items['id'] = items.file.map(picture_id)
    learned = items[items.id.isin(split.id[~split.is_valid])].drop_duplicates('id').reset_index(drop=True)
    kept,new = items[items.id.isin(split.id[split.is_valid])],items[~items.id.isin(split.id)]
    ways = dict(ours=Familiar(split.set_index('id').loc[learned.id].print), peer=Hashes(learned.file, 2))
    sample = learned.sample(min(n, len(learned)), random_state=0)
    asked = [(f'known again: {name}', sample.file, edit, lambda found,i: i in found) for name,edit in edits.items()]
    asked += [(f'taken for learned: {name}', files, lambda im: im, lambda found,i: len(found)>0)
        for name,files in {'kept back':kept.file, 'new':new.file}.items()]
    rows,spent = [],dict.fromkeys(ways, 0.)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for what,files,edit,said in asked:
            got = {}
            for way,share,seconds in shares(ways, files, edit, said, pool):
                got[way] = share
                if what.startswith('taken'): spent[way] += 1e3*seconds/(len(kept)+len(new))
            rows.append(dict(what=what, ours=got['ours'], unit='%', pictures=len(files), peer='pHash', theirs=got['peer']))
    rows.append(dict(what=f'each picture, among {len(learned):,}', ours=spent['ours'], unit='ms', peer='pHash', theirs=spent['peer']))
    record('quality_known', rows)
