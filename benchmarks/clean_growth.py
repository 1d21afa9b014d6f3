"""Time to group many hashes, and how it grows

    python benchmarks/clean_growth.py

Synthetic pictures: a fifth of them are copies of another one, with up to eight bits of each hash turned over. In the
first table hashes are random; in the second they differ in 24 of 64 bits only, as those of shoes on white do. Beside
it stands the comparison of all pairs, in numpy, as far as it can be waited for.
"""
import time

import numpy as np
import pandas as pd
from sneaker_classifier.copies import _connected, near_pairs

def hashes_of(n, crowded, seed=0):
    "(n, 28) hashes; picture 5k+1 is a copy of picture 5k"
    rng = np.random.default_rng(seed)
    h = rng.integers(0, 2**64, (n, 28), np.uint64)
    if crowded: h = h & np.uint64(2**24-1) | np.uint64(0x5a5a5a5a00000000)
    for _ in range(8): h[1::5] = h[0::5][:len(h[1::5])] if _==0 else h[1::5]^(np.uint64(1)<<rng.integers(0, 64, h[1::5].shape, np.uint64))
    return h

def all_pairs(h):
    one = h[:,0]
    return sum(int((np.bitwise_count(one[i]^one[i+1:])<=13).sum()) for i in range(len(one)))

def main():
    for crowded in (False, True):
        rows = []
        for n in (25_000, 50_000, 100_000):
            h = hashes_of(n, crowded)
            start = time.perf_counter()
            pairs = near_pairs(h)
            groups = _connected(pairs, n)
            seconds = time.perf_counter()-start
            found = np.mean(groups[0::5][:len(groups[1::5])]==groups[1::5])
            start = time.perf_counter()
            if n<=50_000: all_pairs(h)
            rows.append(dict(pictures=n, seconds=seconds, pairs=len(pairs), **{'copies found':found, 'all pairs of one view':time.perf_counter()-start if n<=50_000 else np.nan}))
        table = pd.DataFrame(rows)
        print('crowded' if crowded else 'random', f"growth from 25,000 to 100,000: {table.seconds[2]/table.seconds[0]:.1f} times")
        print(table.round(2).to_string(index=False))

if __name__=='__main__': main()
