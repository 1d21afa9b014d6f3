"""Makes README.md of the results: python benchmarks/report.py"""
import ast, re

import pandas as pd
from common import results, root

sections = {'Speed':('speed_predict', 'speed_app', 'speed_download', 'speed_clean', 'speed_copies', 'speed_neighbours', 'speed_train',
        'speed_web', 'speed_scale'),
    'Quality':('quality_model', 'quality_starts', 'quality_source', 'quality_copies', 'quality_known', 'quality_labels',
        'quality_teach', 'quality_learn', 'quality_web'),
    'Safety':('safety_kills',)}

# Of long tables, the rows to show
brief = dict(speed_predict='one photo|many', speed_app='requests|failed|starting', speed_download='web$', speed_neighbours='fit|50,000',
    speed_copies='100,000.*share', speed_train='back|step', speed_web='second visit', speed_scale='named|lost',
    quality_model='(home|other shops|elsewhere, whole shoes): (top-1|right when)|(photos|behind): top-1|, called sure',
    quality_starts='other shops: top-1', quality_source='(everything|Lite2|light.*), phones: top-1',
    quality_copies='(copies|groups): (mean|precision$)', quality_known='saved|new$',
    quality_teach='10 photos.*other shops: (found|right)|fitted',
    quality_learn='20.*models|(50|100).*hidden', quality_web='chromium.*(first answer|as sure)', safety_kills='same')

columns = ['what', 'ours', 'unit', 'peer', 'theirs', 'ratio', 'pictures', 'low', 'high', 'machine', 'date', 'commit']

intro = """# Benchmarks

One command for each question: ours, beside a peer or a bare limit, in one run. `python benchmarks/report.py` makes this page of \
`results/`, where all rows stand. In brackets: a 95% interval (Wilson), or ours divided by the peer's. What was tried: the [lab \
notes](../nbs/lab_notes.ipynb).
"""

def number(x):
    if x!=x: return ''
    return f'{x:,.0f}' if abs(x)>=100 or x==int(x) else f'{x:.1f}' if abs(x)>=10 else f'{x:.2f}'

def value(x, unit): return f'{x:.1f}%' if unit=='%' else f"{number(x)} {unit.replace('a second', '/s')}".rstrip()

def beside(o):
    "A peer with its figure, and how ours compares"
    if not isinstance(o.peer, str): return f'n={o.pictures:,.0f}' if o.pictures==o.pictures else ''
    return f'{o.peer}: {number(o.theirs)}'+(f' ({number(o.ratio)})' if o.ratio==o.ratio else '')

def line(what, rows):
    o = next(rows.itertuples())
    ours = value(o.ours, o.unit)+(f' ({o.low:.0f}–{o.high:.0f})' if o.low==o.low else '')
    return f'| {what} | {ours} | {"; ".join(map(beside, rows.itertuples()))} |'

def part(name, machines):
    "The question of a benchmark, and its figures"
    question = ast.get_docstring(ast.parse((root/'benchmarks'/f'{name}.py').read_text(encoding='utf-8'))).splitlines()[0]
    file = results/f'{name}.csv'
    if not file.is_file(): return f'### {question}\n\n`{name}.py` has not been run.\n'
    table = pd.read_csv(file, dtype=dict(commit=str)).reindex(columns=columns)
    table['unit'] = table.unit.astype(object).fillna('')
    shown = table[[bool(re.search(brief.get(name, ''), o)) for o in table.what]]
    lines = ['| | ours | beside |', '|---|---|---|', *(line(*o) for o in shown.groupby('what', sort=False))]
    first = table.iloc[0]
    if first.machine not in machines: machines.append(first.machine)
    where = f'`{name}.py`, {first.date}, [{machines.index(first.machine)+1}](#machines)'
    return f'### {question}\n\n'+'\n'.join(lines)+f'\n\n{where}\n'

def page():
    machines,parts = [],[intro]
    for title,names in sections.items(): parts += [f'\n## {title}\n', *(part(o, machines) for o in names)]
    return '\n'.join([*parts, '## Machines\n', *(f'{i}. {o}' for i,o in enumerate(machines, 1)), ''])

def words(text): return len(re.findall(r'[^\s|]*\w[^\s|]*', text))

if __name__=='__main__':
    text = page()
    (root/'benchmarks'/'README.md').write_text(text, encoding='utf-8', newline='\n')
    print(words(text), 'words')
