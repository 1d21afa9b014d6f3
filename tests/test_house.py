"The plain rules that keep notebooks readable"
import ast, json, re

import pytest
from conftest import root

notebooks = sorted((root/'nbs').glob('*.ipynb'))
names = [p.stem for p in notebooks]
# In the order of reading; what one of these uses has been explained before it.
rooms = ['files', 'commands', *(o.split('_', 1)[1] for o in names if o[:2].isdigit() and o not in ('00_files', '00_commands'))]
longest_cell,longest_prose,longest_line = 30,140,140 # lines, words, characters


def cells(path, kind): return [''.join(o['source']) for o in json.loads(path.read_text(encoding='utf-8'))['cells'] if o['cell_type']==kind]

def is_exported(source): return re.match(r'#\| *export', source)

def code_of(source):
    "Code without directives, and with nothing in the place of what only a notebook understands"
    return re.sub(r'^( *)[%!].*', r'\1pass', '\n'.join(o for o in source.splitlines() if not o.startswith('#|')), flags=re.M)

def is_hidden(source): return source.startswith('#| hide\n')

every = pytest.mark.parametrize('path', notebooks, ids=names)


@every
def test_first_cell_is_title_and_subtitle(path):
    "The site takes these two from it, and leaves out whatever else is there"
    first = json.loads(path.read_text(encoding='utf-8'))['cells'][0]
    lines = [o for o in ''.join(first['source']).splitlines() if o.strip()]
    assert first['cell_type']=='markdown' and lines[0].startswith('# ') and len(lines)>1 and all(o.startswith('>') for o in lines[1:])


@every
def test_cells_are_short(path):
    long = [o[:80] for o in cells(path, 'code') if is_exported(o) and len(code_of(o).splitlines())>longest_cell]
    assert not long
    wordy = [o[:80] for o in cells(path, 'markdown') if len(o.split())>longest_prose and '|---' not in o]
    assert not wordy


@every
def test_imports_stand_alone(path):
    "The site runs the cells that import something, in a folder of its own and without what came before"
    mixed = []
    for source in cells(path, 'code'):
        if is_hidden(source): continue
        kinds = {isinstance(o, (ast.Import, ast.ImportFrom)) for o in ast.parse(code_of(source)).body}
        if len(kinds)>1 and not is_exported(source): mixed.append(source[:80])
    assert not mixed


@every
def test_most_cells_show_something(path):
    code = [o for o in json.loads(path.read_text(encoding='utf-8'))['cells'] if o['cell_type']=='code']
    code = [o for o in code if not is_hidden(''.join(o['source']))]
    assert sum(bool(o['outputs']) for o in code)>=.4*len(code)


@pytest.mark.parametrize('folder', ['nbs', 'tests', 'benchmarks'])
def test_lines_are_short(folder):
    found = []
    for f in [*(root/folder).glob('*.ipynb'), *(root/folder).glob('*.py')]:
        text = '\n'.join(cells(f, 'code')) if f.suffix=='.ipynb' else f.read_text(encoding='utf-8')
        found += [f'{f.name}: {o[:60]}' for o in text.splitlines() if len(o)>longest_line]
    assert not found


def imported(source):
    "Modules of the project that code imports, in a function too"
    for o in ast.walk(ast.parse(code_of(source))):
        if isinstance(o, ast.ImportFrom) and o.module=='sneaker_classifier': yield from (a.name for a in o.names if a.name in rooms)
        elif isinstance(o, ast.ImportFrom) and (o.module or '').startswith('sneaker_classifier.'): yield o.module.split('.')[1]
        elif isinstance(o, ast.Import): yield from (a.name.split('.')[1] for a in o.names if a.name.startswith('sneaker_classifier.'))


@pytest.mark.parametrize('path', [p for p in notebooks if p.stem[:2].isdigit()], ids=lambda p: p.stem)
def test_nothing_is_used_before_it_is_explained(path):
    room = path.stem.split('_', 1)[1]
    # Commands end in a sentence, which they take from files only when they run; drawings are an appendix that all demonstrations use.
    later = {o for source in cells(path, 'code') for o in imported(source) if rooms.index(o)>rooms.index(room)}
    assert later<={'samples'}


def test_an_evening_is_enough():
    assert sum(len(o.split()) for path in notebooks for o in cells(path, 'markdown'))<14_000
