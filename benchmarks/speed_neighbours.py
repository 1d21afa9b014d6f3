"""Do libraries search hashes, or read between pixels, better?

    python benchmarks/speed_neighbours.py

This needs faiss-cpu and opencv-python-headless, which the project does not. Synthetic pictures have 28 hashes each; a fifth are copies of
another, every hash of which differs in 0 to 13 bits. Recall is the share of these copies found. Faiss' flat index is exact. Faiss is
asked about a thousand pictures at most, and the time multiplied, since each question takes as long as the next. The fit is that of
drawings and their copies; next to its name stands how far, in widths of a picture, it ends from the fit of `copies`. Seconds are those
of one core (process time), because other work ran beside this: the median of three rounds in which all take turns."""
import io, statistics, time

import cv2, faiss
import numpy as np
from common import record
from PIL import Image
from sneaker_classifier import copies
from sneaker_classifier.samples import LABELS, draw_shoe

def planted(n, bits=13, seed=0):
    "Hashes (n, 28); picture 5k+1 is a copy of picture 5k"
    rng = np.random.default_rng(seed)
    h = rng.integers(0, 2**64, (n, 28), np.uint64)
    first = h[0::5][:len(h[1::5])]
    places = rng.permuted(np.broadcast_to(np.arange(64, dtype=np.uint64), (*first.shape, 64)), axis=-1)[..., :bits]
    flips = np.where(np.arange(bits)<rng.integers(0, bits+1, first.shape)[...,None], np.uint64(1)<<places, np.uint64(0))
    h[1::5] = first^np.bitwise_xor.reduce(flips, axis=-1)
    return h

def as_bytes(h): return h.ravel().view(np.uint8).reshape(-1, 8)

def ask(index, h):
    "Pairs of pictures that a faiss index of all hashes finds within 13 bits"
    ends,_,found = index.range_search(as_bytes(h[:,[0, 14]]), 14)
    return np.stack([np.repeat(np.arange(len(ends)-1), np.diff(ends).astype(int))//2, found//28], 1)

def built(index, h):
    start = time.process_time()
    index.add(as_bytes(h))
    return index, time.process_time()-start

def recall(pairs, asked):
    "Share of the planted copies of the first `asked` pictures that are among the pairs"
    found = set(map(tuple, np.sort(pairs[:,:2], axis=1).tolist()))
    return statistics.mean((i, i+1) in found for i in range(0, asked-1, 5))

def by_turns(ways, rounds=3):
    "Median seconds and last result of each of {name: function}"
    seconds,results = {o:[] for o in ways},{}
    for _ in range(rounds):
        for name,f in ways.items():
            start = time.process_time()
            results[name] = f()
            seconds[name].append(time.process_time()-start)
    return {o:statistics.median(t) for o,t in seconds.items()},results

def search(n):
    h,asked = planted(n),min(1000, n)   # a picture asks with two hashes
    multi = faiss.IndexBinaryMultiHash(64, 4, 16)
    multi.nflip = 1
    indexes = {f'faiss {type(o).__name__}':built(o, h) for o in (faiss.IndexBinaryFlat(64), multi)}
    ways = {o:lambda index=index: ask(index, h[:asked]) for o,(index,_) in indexes.items()}
    seconds,pairs = by_turns({'near_pairs':lambda: copies.near_pairs(h), **ways})
    for o,(_,build) in indexes.items(): seconds[o] = build+seconds[o]*n/asked
    share = {o:recall(pairs[o], asked if o in indexes else n) for o in seconds}
    ours = seconds.pop('near_pairs')
    return [dict(what=f'{n:,} pictures, near hashes', ours=ours, unit='s', peer=o, theirs=t,
        remark=f"finds {share['near_pairs']:.1%} of the planted copies, the peer {share[o]:.1%}") for o,t in seconds.items()]

def places(pictures, x, y):
    return (np.broadcast_to(o*pictures.shape[1]-.5, (len(pictures), o.shape[-1])).astype(np.float32) for o in (x, y))

def by_numpy(pictures, x, y):
    x,y = (o.clip(0, pictures.shape[1]-1.001) for o in places(pictures, x, y))
    left,top,pair = x.astype(int),y.astype(int),np.arange(len(pictures))[:,None]
    above,below = (pictures[pair, top+o, left]*(1-x+left)+pictures[pair, top+o, left+1]*(x-left) for o in (0, 1))
    return above*(1-y+top)+below*(y-top)

def by_opencv(pictures, x, y):
    def one(p, x, y): return cv2.remap(p, x[:,None], y[:,None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:,0]
    return np.stack([one(*o) for o in zip(pictures, *places(pictures, x, y))])

def fits():
    def shop(im):
        out = io.BytesIO()
        im.crop((6, 4, 157, 150)).resize((130, 130)).save(out, 'JPEG')
        return Image.open(out)
    photos = [draw_shoe(label, seed, 160) for label in LABELS for seed in range(30)]
    prints = copies.Prints.of([copies.fingerprint(o) for o in [*photos, *map(shop, photos)]])
    pairs = copies.near_pairs(prints.hashes)
    pairs = pairs[pairs[:,4]%2==0]
    one,two = (copies._grey(prints.thumbs[o].astype(np.float32)) for o in pairs[:,:2].T)
    start,ours = copies._start(prints, pairs),copies._sample
    def fit(sample):
        copies._sample = sample
        try: return np.concatenate([copies._fit(one[o], two[o], start[o]) for o in np.array_split(np.arange(len(pairs)), len(pairs)//100)])
        finally: copies._sample = ours
    ways = {'scipy map_coordinates':ours, 'by hand in numpy':by_numpy, 'cv2.remap':by_opencv}
    seconds,parts = by_turns({o:lambda sample=sample: fit(sample) for o,sample in ways.items()})
    away = {o:np.abs(p-parts['scipy map_coordinates']).max() for o,p in parts.items()}
    ours = 1e3*seconds.pop('scipy map_coordinates')/len(pairs)
    return [dict(what='fit of a pair, with scipy\'s map_coordinates', ours=ours, unit='ms', peer=o, theirs=1e3*t/len(pairs),
        remark=f'at most {away[o]:.4f} picture widths away') for o,t in seconds.items()]

if __name__=='__main__':
    faiss.omp_set_num_threads(1)
    cv2.setNumThreads(1)
    record('speed_neighbours', [*fits(), *(o for n in (1_000, 10_000, 50_000) for o in search(n))])
