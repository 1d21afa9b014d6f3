"""What the benchmarks share: photos by their manifest, ways that take turns, and a file of results

Each benchmark answers one question, prints its figures and writes them to results/<its name>.csv, with the machine, the date and
the commit. `python benchmarks/report.py` makes README.md of these files."""
import io, json, platform, re, subprocess, sys, time
from datetime import date
from pathlib import Path
from statistics import median

import pandas as pd
from fastcore.xtras import run
from sneaker_classifier.files import usable_cores

root = Path(__file__).resolve().parent.parent
results = root/'benchmarks'/'results'
bundled = root/'sneaker_classifier'/'models'/'sneakers'


def photos(
    folder:Path|str, # Has a manifest.csv with the columns file, split, label, group and source, and the photos it names
    split='train'    # Which of its parts
)->pd.DataFrame:     # The rows of that part; `file` is the whole path
    table = pd.read_csv(Path(folder)/'manifest.csv', dtype=str, keep_default_na=False)
    return table[table.split==split].assign(file=lambda t: [str(Path(folder)/o) for o in t.file]).reset_index(drop=True)

def not_learned(
    folder:Path|str,  # As `photos` takes it
    split:str,        # Which of its parts
    model:Path|str    # Folder of the model that is measured
)->pd.DataFrame:
    "The rows of `photos` that a model has not learned"
    from sneaker_classifier.data import picture_id, read_split # loads torch, which most benchmarks do without
    table,seen = photos(folder, split),read_split(Path(model))
    return table[~table.file.map(picture_id).isin(seen.id[~seen.is_valid])].reset_index(drop=True)

def jpeg(im, quality=90):
    "A picture as the bytes of a JPEG"
    out = io.BytesIO()
    im.convert('RGB').save(out, 'JPEG', quality=quality)
    return out.getvalue()

def by_turns(ways, rounds):
    "Seconds of each of {name: function of the round}, so that whatever else the machine does falls on all alike; a first round warms up"
    seconds = {name:[] for name in ways}
    for i in range(rounds+1):
        for name,f in ways.items():
            start = time.perf_counter()
            f(i)
            if i: seconds[name].append(time.perf_counter()-start)
    return seconds

def ratio(a, b): return median(x/y for x,y in zip(a, b))

def alone(file, *args):
    "What a process of its own prints in its last line, which is JSON"
    said = subprocess.run([sys.executable, file, *map(str, args)], check=True, capture_output=True, text=True)
    return json.loads(said.stdout.splitlines()[-1])

def megabytes():
    "The most memory that this process has held"
    # On Linux the system's own count would begin with what the process that started this one had held.
    status = Path('/proc/self/status')
    if status.is_file(): return int(re.search(r'VmHWM:\s+(\d+) kB', status.read_text())[1])*1024/1e6
    import resource # which Windows does not have
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6 # bytes, on macOS

def machine():
    "Cores, processor, system and Python, in words"
    info = Path('/proc/cpuinfo')
    names = [o.split(':')[1].strip() for o in info.read_text().splitlines() if o.startswith('model name')] if info.is_file() else []
    return f'{usable_cores()} cores of {(names or [platform.machine()])[0]}, {platform.system()}, Python {platform.python_version()}'

def record(
    name,        # Of the file in results
    rows:list,   # Dicts: what, ours, unit; where there is one, peer and theirs; pictures, low and high of a 95% interval; remark
)->pd.DataFrame:
    "Print figures and write them down"
    table = pd.DataFrame(rows)
    if 'theirs' in table: table['ratio'] = (table.ours/table.theirs).round(3)
    print(table.to_string(index=False), flush=True)
    changed = '+' if run('git status --porcelain -- sneaker_classifier') else ''
    table = table.assign(machine=machine(), date=date.today().isoformat(), commit=run('git rev-parse --short HEAD')+changed)
    results.mkdir(exist_ok=True)
    table.to_csv(results/f'{name}.csv', index=False, lineterminator='\n')
    return table
