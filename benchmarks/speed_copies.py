"""How long does grouping take?

    python benchmarks/speed_copies.py

Made hashes: a fifth of the pictures are copies of another one, with up to eight bits of each hash turned over. First hashes are random;
then they differ in 24 of 64 bits only, as those of shoes on white do. Beside it stands the comparison of all pairs in one of the 28
views, in NumPy.
"""
import time

import numpy as np
from common import record
from fastcore.script import call_parse
from sneaker_classifier.copies import near_pairs
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

def hashes_of(n, crowded, seed=0):
    "(n, 28) hashes; picture 5k+1 is a copy of picture 5k"
    rng = np.random.default_rng(seed)
    h = rng.integers(0, 2**64, (n, 28), np.uint64)
    if crowded: h = h & np.uint64(2**24-1) | np.uint64(0x5a5a5a5a00000000)
    h[1::5] = h[0::5][:len(h[1::5])]
    for _ in range(7): h[1::5] ^= np.uint64(1)<<rng.integers(0, 64, h[1::5].shape, np.uint64)
    return h

def all_pairs(h):
    one = h[:,0]
    return sum(int((np.bitwise_count(one[i]^one[i+1:])<=13).sum()) for i in range(len(one)))

def found(pairs, n):
    "Which share of the copies is connected with its original"
    _,group = connected_components(coo_array((np.ones(len(pairs)), pairs[:,:2].T), (n, n)))
    return np.mean(group[0::5][:len(group[1::5])]==group[1::5])

def timed(f):
    start = time.perf_counter()
    return f(),time.perf_counter()-start

@call_parse
def main(
    sizes:list=(25_000, 50_000, 100_000) # How many pictures
):
    rows = []
    for crowded in (False, True):
        for n in map(int, sizes):
            h = hashes_of(n, crowded)
            (pairs,seconds),said = timed(lambda: near_pairs(h)),'hashes that share 40 of 64 bits' if crowded else 'random hashes'
            row = dict(what=f'{n:,} pictures, {said}', ours=seconds, unit='s', remark=f'{found(pairs, n):.1%} of the copies found')
            # All pairs of more cannot be waited for.
            if n<=50_000: row |= dict(peer='all pairs of one view', theirs=timed(lambda: all_pairs(h))[1])
            rows.append(row)
    record('speed_copies', rows)
