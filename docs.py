"Builds README.md and the documentation site, in _docs, with pip-installed tools alone: python docs.py"
import html, inspect, io, re, shutil
from dataclasses import fields, is_dataclass
from functools import reduce
from importlib import import_module
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import matplotlib as mpl
import matplotlib.font_manager
import nbformat
from fastcore.basics import AttrDict
from fastcore.docments import DocmentText
from fastcore.nbio import mk_cell, read_nb, write_nb
from matplotlib.mathtext import math_to_image
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbdev.config import get_config
from nbdev.process import Processor
from nbdev.processors import FilterDefaults, exec_show_docs
from nbdev.quarto import refresh_quarto_yml
from PIL import Image, ImageDraw, ImageFont
from sneaker_classifier.files import SneakerError
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.samples import LABELS, draw_shoe, make_samples
from sneaker_classifier.web import write_page
from smalldocs.config import load
from smalldocs.site import Site

root = Path(__file__).parent
expected = ('output-file is not read', 'unknown key format-links') # what nbdev writes for Quarto; `Pages.read` sees to the first


# Notebooks as they stand on GitHub, and in Colab

colab_badge = '[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]'

def colab_cells(
    path:Path # Of a notebook
)->tuple[str,str]:
    "A badge that opens the notebook in Colab, and a cell that fetches the project where it is not at hand"
    url = get_config().git_url
    owner,name = url.rsplit('/', 2)[1:]
    at = f'https://colab.research.google.com/github/{owner}/{name}/blob/{get_config().branch}/{path.relative_to(root).as_posix()}'
    extras = 'scale,train' if path.stem=='14_scale' else 'train'
    return f'{colab_badge}({at})', f"""#| hide
# Fetches the project where it is not at hand, as in Colab. In a clone of it this does nothing.
from importlib.util import find_spec
from pathlib import Path
if not any((o/'settings.ini').is_file() for o in Path('any').resolve().parents):
    if not find_spec('sneaker_classifier'):
        !git clone -q --depth 1 {url}
        %pip install -q "./{name}[{extras}]"
    %cd -q {name}/nbs"""

def write_colab_cells():
    "Give each notebook the cells of `colab_cells`, below its title"
    for path in notebooks():
        nb = read_nb(path)
        has = nb.cells[1].source.startswith(colab_badge)
        badge,fetch = colab_cells(path)
        nb.cells[1:3 if has else 1] = [mk_cell(badge, 'markdown'), mk_cell(fetch)]
        for o,kept in zip(nb.cells[1:3], ('open-in-colab', 'fetch-project')): o['id'] = kept
        write_nb(nb, path)

def is_widget(output): return 'application/vnd.jupyter.widget-view+json' in output.get('data', {})

def take_widgets_out():
    "Without a kernel, progress bars stay at 0%, other widgets are lines of code, and their state is long"
    for path in notebooks():
        nb = read_nb(path)
        for o in nb.cells:
            if o.cell_type=='code': o.outputs = [out for out in o.outputs if not is_widget(out)]
        nb.metadata.pop('widgets', None)
        write_nb(nb, path)

def notebooks(): return sorted(o for o in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts)

def readme():
    "The text of README.md, made from the front page's notebook"
    nb = nbformat.read(root/'nbs'/'index.ipynb', as_version=4)
    nb.cells = [o for o in nb.cells if not o.source.startswith('#| hide')]
    nb.metadata.language_info = dict(name='python')
    for o in nb.cells:
        if o.source.startswith('#| echo: false'): o.metadata.tags = ['no-source']
    exporter = MarkdownExporter(preprocessors=[TagRemovePreprocessor(remove_input_tags={'no-source'})])
    text = exporter.from_notebook_node(nb)[0]
    return re.sub(r'\]\((?!https?:|#|\.\./)', '](nbs/', text).replace('](../', '](')


# Documentation of names

def short(anno):
    "A type as one writes it: Sequential, and not torch.nn.modules.container.Sequential"
    if anno in (inspect._empty, type(None)): return inspect._empty
    text = anno if isinstance(anno, str) else inspect.formatannotation(anno)
    return re.sub(r"(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", '', text).strip("'")

class Signature(DocmentText):
    "A signature with short names of types, and of a setting what may be set"
    def __init__(self, sym):
        super().__init__(sym, docstring=False)
        if not is_dataclass(sym): return
        self.dm.pop('return', None)
        for o in fields(sym): self.dm[o.name]['docment'] = self.dm[o.name]['docment'] or o.metadata.get('right')

    def _fmt_param(self, nm, p): return super()._fmt_param(nm, {**p, 'anno':short(p.get('anno', inspect._empty))})

    @property
    def _ret_str(self):
        ret = self.dm.get('return', {})
        anno = short(ret.get('anno', inspect._empty))
        return ')' + ('' if anno is inspect._empty else f'->{anno}') + (f': # {ret["docment"]}' if ret.get('docment') else ':')

def signature(sym, name):
    "What one has to write to call `sym`, and what each part of it is for"
    if isinstance(sym, property): return f'{name}' + (f'->{short(o)}' if (o := sym.fget.__annotations__.get('return')) else '')
    if not inspect.isclass(sym): return str(Signature(sym))
    bases = [o.__name__ for o in sym.__bases__ if o is not object]
    if bases and '__init__' not in vars(sym): return f'class {name}({", ".join(bases)})'
    return str(Signature(sym)).replace('def ', 'class ', 1)

def source_of(sym):
    "Where the code of `sym` is on GitHub"
    code = inspect.unwrap(getattr(sym, 'fget', None) or getattr(sym, '__func__', sym))
    file,line = Path(inspect.getsourcefile(code)).relative_to(root),inspect.getsourcelines(code)[1]
    return f'{get_config().git_url}/blob/{get_config().branch}/{file.as_posix()}#L{line}'

class Documents(Processor):
    "Writes the documentation that nbdev asks for from the modules, whose code has lines to link to"
    names = {} # {notebook's title: [module, [(name, what it does)]]}

    def begin(self):
        module = next((o.directives_['default_exp'] for o in self.nb.cells if 'default_exp' in (o.directives_ or {})), None)
        if not module: return
        self.module = import_module(f'{get_config().lib_path.name}.{module.split()[0]}')
        self.found = self.names[self.nb.frontmatter_['output-file']] = []

    def cell(self, cell):
        asked = re.search(r'^show_doc\(([\w.]+)\)', cell.source or '', flags=re.M) if cell.cell_type=='code' else None
        if not asked: return
        name = asked[1]
        if name.startswith('_'):
            del cell['source'] # a method of a class that is not for others
            return
        sym = reduce(inspect.getattr_static, name.split('.'), self.module)
        doc = inspect.getdoc(sym) or ''
        code = f'```{{.python .signature}}\n{signature(sym, name)}\n```'
        text = f'---\n\n[source]({source_of(sym)}){{.source title="Source of {name}"}}\n\n### {name}\n\n{code}\n\n{doc}'
        cell.outputs = [mk_out(text)]
        self.found.append((name, doc.partition('\n')[0]))

def mk_out(text): return AttrDict(output_type='display_data', metadata={}, data=AttrDict({'text/markdown':text}))

def reference(order):
    "A page with all names of all modules, `order` being the addresses of the lessons"
    pages = ((o, Documents.names[o]) for o in order if Documents.names.get(o))
    parts = ['---\ntitle: All names\ndescription: Every function and class, and where it is explained\n---\n']
    for page,found in pages:
        rows = [f'[`{name}`](/{page}#{name.lower()})\n:   {doc}\n' for name,doc in found]
        module = page.removesuffix('.html')
        parts += [f'## {module}\n', f'From `sneaker_classifier.{module}`, which is explained [in its lesson](/{page}).\n', *rows]
    return '\n'.join(parts)


# Pictures

class Alternatives(Processor):
    "Gives pictures within HTML the text of their cell's `fig-alt`, which the renderer gives to all others"
    def cell(self, cell):
        own = re.match(r'#\| fig-alt: *"(.+)"', cell.source or '')
        for o in cell.get('outputs', []):
            if 'text/html' not in o.get('data', {}): continue
            # A window on a program that ran when the lesson was run has nothing to show to a reader
            page = re.sub(r'<iframe.*?</iframe>', '', ''.join(o['data']['text/html']), flags=re.S)
            if own: page = re.sub(r'<img(?![^>]*\balt=)', lambda _: f'<img alt="{html.escape(own[1])}"', page)
            o['data']['text/html'] = page


def draw_pictures(to=root/'nbs'):
    "The site's icon and the picture that is shown where its address is shared; drawn once: python -c 'import docs; docs.draw_pictures()'"
    draw_shoe('nike_air_force_1', seed=4, size=96).quantize(64).save(to/'favicon.png', optimize=True)
    card = Image.new('RGB', (1200,630), '#20262e')
    for i,label in enumerate(LABELS[:4]): card.paste(draw_shoe(label, seed=1, size=270), (24+294*i, 300))
    pen,font = ImageDraw.Draw(card),mpl.font_manager.FontProperties
    for y,size,text in ((70, 84, get_config().title), (190, 36, get_config().description)):
        face = mpl.font_manager.findfont(font(family='DejaVu Sans', weight='bold' if size>60 else 'normal'))
        width = ImageFont.truetype(face, size).getlength(text)
        pen.text((30,y), text, fill='white', font=ImageFont.truetype(face, size*min(1, 1140/width)))
    card.save(to/'card.jpg', quality=85)


def photograph_page(to=root/'nbs'/'app.png'):
    "The page at work, with a model that learned from drawings; made once, in Chromium: python -c 'import docs; docs.photograph_page()'"
    from playwright.sync_api import sync_playwright
    from sneaker_classifier.app import launch
    from sneaker_classifier.export import sneaker_train
    with TemporaryDirectory() as d, sync_playwright() as p:
        sneaker_train(make_samples(f'{d}/photos', n=40, size=160), f'{d}/model')
        draw_shoe('adidas_superstar', seed=1000, size=480).save(f'{d}/shoe.png')
        app = launch(f'{d}/model', port=0)
        browser = p.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox'])
        page = browser.new_page(viewport=dict(width=1000, height=800))
        page.goto(app.local_url)
        page.set_input_files('#photo input[type=file]', f'{d}/shoe.png')
        page.wait_for_selector('.result figure')
        page.wait_for_function('[...document.images].every(o => o.complete)')
        picture = Image.open(io.BytesIO(page.screenshot(clip=dict(x=120, y=0, width=760, height=742))))
        app.close()
    picture.convert('RGB').quantize(128).save(to, optimize=True)


def photograph_static_page(to=root/'nbs'/'web.png'):
    "The page that needs no server, at work; made once, in Chromium: python -c 'import docs; docs.photograph_static_page()'"
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread
    from playwright.sync_api import sync_playwright
    with TemporaryDirectory() as d, sync_playwright() as p:
        write_page(SneakerClassifier.load(), d)
        server = ThreadingHTTPServer(('127.0.0.1', 0), partial(SimpleHTTPRequestHandler, directory=d))
        Thread(target=server.serve_forever, daemon=True).start()
        shoe = io.BytesIO()
        draw_shoe('nike_air_force_1', seed=160).save(shoe, 'PNG')
        browser = p.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox'])
        page = browser.new_page(viewport=dict(width=390, height=844), device_scale_factor=1.5)
        page.goto(f'http://127.0.0.1:{server.server_port}/')
        page.wait_for_selector('#status:text-is("Ready.")')
        page.set_input_files('#file', dict(name='shoe.png', mimeType='image/png', buffer=shoe.getvalue()))
        page.wait_for_selector('figure')
        Image.open(io.BytesIO(page.screenshot())).convert('RGB').quantize(256).save(to, optimize=True)
        server.shutdown()


# The site

class Lessons(FilterDefaults):
    "What nbdev does to a notebook before it becomes a page, but for running it"
    def base_procs(self): return [Documents if o is exec_show_docs else o for o in super().base_procs()]
    def xtra_procs(self): return [Alternatives]

class Pages(Site):
    "A site whose pages have the addresses that nbdev gives them: train.html, for 10_train.ipynb"
    def read(self, src):
        page = super().read(src)
        page.out = page.out.with_name(page.front.get('output-file', page.out.name))
        return page

    def find_page(self, target): return next((o for o in self.pages.values() if o.out==target), None) or super().find_page(target)

def outside(path, link):
    "Where on GitHub a link of a notebook leads that leaves the folder of notebooks; any other link as it is"
    to = (path.parent/link).resolve()
    return link if root/'nbs' in to.parents else f'{get_config().git_url}/blob/{get_config().branch}/{to.relative_to(root).as_posix()}'

def prepare(nbs, to):
    "Copy what pages are made of, with the documentation of names in it; gives the address of each notebook's page"
    addresses = {}
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(nbs, to, ignore=shutil.ignore_patterns('.*', '*.ipynb', '__pycache__'))
    own = f'{get_config().doc_host}{get_config().doc_baseurl}/'
    for f in notebooks():
        nb = read_nb(f)
        Lessons()(nb)
        for cell in nb.cells:
            # A picture from another host would tell it who reads; files of the project are not part of the site
            if cell.cell_type=='markdown':
                source = cell.source.replace(colab_badge, '[Open in Colab]').replace(f']({own}', '](/')
                cell.source = re.sub(r'(?<=\]\()[^):#]+(?=\))', lambda o: outside(f, o[0]), source)
            for o in cell.get('outputs', []):
                text = o.get('data', {}).get('text/markdown')
                if text: o['data']['text/markdown'] = ''.join(text).replace(f']({own}', '](/')
        addresses[f.relative_to(nbs).as_posix()] = nb.frontmatter_.get('output-file')
        write_nb(nb, to/f.relative_to(nbs))
    return addresses

def formula(found):
    "A formula as a drawing that needs no script and has its TeX as a title"
    tex,drawing = html.unescape(found[1]),io.StringIO()
    with mpl.rc_context({'svg.fonttype':'path', 'svg.hashsalt':'formula'}): math_to_image(f'${tex}$', drawing, format='svg')
    svg = re.sub(r'<(metadata|style)\b.*?</\1>', '', drawing.getvalue()[drawing.getvalue().index('<svg'):], flags=re.S)
    svg = re.sub(r'<g id="patch_1">.*?</g>', '', svg, flags=re.S).replace('\n', ' ')
    return svg.replace('<svg ', '<svg role="img" class="formula" ', 1).replace('>', f'><title>{html.escape(tex)}</title>', 1)

def finish(docs):
    "What the renderer leaves to others: formulas, fonts of other hosts, names of the pages in Markdown"
    ids = {f.relative_to(docs).as_posix():set(re.findall(r'\bid="([^"]+)"', f.read_text(encoding='utf-8'))) for f in docs.rglob('*.html')}

    def link(found):
        at = (PurePosixPath(link.page).parent/found[1]).as_posix() if found[1] else link.page
        return found[0] if at not in ids or found[2] in ids[at] else found[3]

    for f in docs.rglob('*.html'):
        link.page = f.relative_to(docs).as_posix()
        page = re.sub(r'<span class="math inline">\\\((.*?)\\\)</span>', formula, f.read_text(encoding='utf-8'))
        page = re.sub(r'<(link|script)[^>]*cdn\.jsdelivr\.net/npm/katex[^>]*>(</script>)?', '', page)
        # A name that has no documentation of its own, such as a private one, leads nowhere
        page = re.sub(r'<a href="([^"#:]*)#([^"]+)"[^>]*>(<code>[^<]*</code>)</a>', link, page)
        # What can be scrolled can be reached by the keyboard
        wide = r'<div(?= class="sd-table")|<div(?= class="cell-output cell-output-display">\s*(?!<pre|<div class="quarto))'
        page = re.sub(rf'<pre(?=[ >])|{wide}', r'\g<0> tabindex="0"', page)
        f.write_text(page.replace('.llms.md"', '.html.md"'), encoding='utf-8')
    for f in docs.rglob('*.llms.md'):
        f.write_text(f.read_text(encoding='utf-8').replace('.llms.md', '.html.md'), encoding='utf-8')
        f.rename(f.with_name(f.name.replace('.llms.md', '.html.md')))
    o = docs/'llms.txt'
    o.write_text(o.read_text(encoding='utf-8').replace('.llms.md', '.html.md'), encoding='utf-8')
    for f in docs.rglob('*.css'):
        f.write_text(re.sub(r'@import url\(https:[^)]*\);?', '', f.read_text(encoding='utf-8')), encoding='utf-8')

_to_try = """<iframe class="to-try" src="try/index.html" title="Which sneaker is this?"></iframe>

<a href="try/index.html">Open it alone</a>, for instance to put it on a phone's home screen."""
_not_to_try = """It is not in this copy of the documentation: what runs it could not be had when the copy was built. With the project installed, \
`sneaker-web --out site` writes it, and `python -m http.server --directory site` shows it."""

def to_try(proc):
    "The page that answers in the browser, in a folder that the renderer passes over, and a page of the site around it"
    try: write_page(SneakerClassifier.load(), proc/'_try')
    except SneakerError as e: print(f'warning: "Try it" is without the page: {e}')
    shown = _to_try if (proc/'_try').exists() else _not_to_try
    head = 'title: Try it\ndescription: The classifier in your browser. Your photos stay on your device'
    about = 'How it is made is [a lesson](web.html); [how to publish your own](howto/static_page.html) is another.'
    (proc/'try.md').write_text(f'---\n{head}\n---\n\n{shown}\n\n{about}\n', encoding='utf-8')

def site():
    "Build the site in _docs"
    refresh_quarto_yml()
    addresses = prepare(root/'nbs', root/'_proc')
    to_try(root/'_proc')
    project = load(root/'_proc')
    contents = project.website['sidebar']['contents']
    lessons = re.findall(r"[\w/]+\.ipynb", str(contents))
    (root/'_proc/reference.md').write_text(reference([addresses.get(o) for o in lessons]), encoding='utf-8')
    contents[-1]['contents'].append('reference.md')
    contents.insert(0, 'try.md')
    pages = Pages(project)
    pages.build()
    for o in pages.warnings:
        if not any(e in o for e in expected): print('warning:', o)
    shutil.rmtree(root/'_docs', ignore_errors=True)
    shutil.move(pages.out, root/'_docs')
    finish(root/'_docs')
    # As it is: its files are known by their sha256.
    if (root/'_proc/_try').exists(): shutil.move(root/'_proc/_try', root/'_docs/try')


if __name__ == '__main__':
    write_colab_cells()
    take_widgets_out()
    Path('README.md').write_text(readme(), encoding='utf-8', newline='\n')
    site()
