"""Are photos that a model has learned known again when they come as other files, and are new ones let through?

    python benchmarks/known_again.py photos/ [--model models/mine] [-n 300]

`photos` has one folder of pictures for each class, among them those that the model learned from, by their sha256. `-n` of
these are saved anew, reduced, framed, cropped, cleaned and mirrored; the photos that are in no split.csv are the new ones.
The peers look at the same pictures: the sha256 of the file, and the perceptual hash of `imagehash` at two distances.
"""
import argparse, io, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from sneaker_classifier.copies import Familiar
from sneaker_classifier.data import labelled_items, picture_id, read_split
from sneaker_classifier.files import usable_cores
from sneaker_classifier.images import open_image, sanitize
from sneaker_classifier.predict import SneakerClassifier

def jpeg(im, quality=85):
    out = io.BytesIO()
    im.save(out, 'JPEG', quality=quality)
    return Image.open(out).convert('RGB')

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

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('photos'); p.add_argument('--model'); p.add_argument('-n', type=int, default=300)
    args = p.parse_args()
    split = read_split(SneakerClassifier.load(args.model).folder)
    items = labelled_items(args.photos)
    items['id'] = items.file.map(picture_id)
    learned = items[items.id.isin(split.id[~split.is_valid])].drop_duplicates('id').reset_index(drop=True)
    kept,new = items[items.id.isin(split.id[split.is_valid])],items[~items.id.isin(split.id)]
    ways = {'prints':Familiar(split.set_index('id').loc[learned.id].print), **{f'pHash, {d} bits':Hashes(learned.file, d) for d in (2, 6)}}
    sample = learned.sample(min(args.n, len(learned)), random_state=0)
    rows,seconds = {},dict.fromkeys(ways, 0.)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for name,edit in edits.items():
            pictures = list(pool.map(lambda f: edit(open_image(f)), sample.file))
            rows[name] = {way:np.mean([i in o.find(im) for i,im in zip(sample.index, pictures)]) for way,o in ways.items()}
        for name,files in {'kept back, taken for learned':kept.file, 'new, taken for learned':new.file}.items():
            pictures = list(pool.map(open_image, files))
            for way,o in ways.items():
                start = time.perf_counter()
                rows.setdefault(name, {})[way] = np.mean([len(o.find(im))>0 for im in pictures])
                seconds[way] += time.perf_counter()-start
    print((pd.DataFrame(rows).T*100).round(1).to_string())
    print(f'{len(learned)} learned, {len(sample)} of them edited, {len(kept)} kept back, {len(new)} new. Milliseconds for each picture: '
        + ', '.join(f'{way} {1000*s/(len(kept)+len(new)):.1f}' for way,s in seconds.items()))

if __name__=='__main__': main()
