"A site that says what the notebooks say, to everybody, and needs no other host for it"
import json, re, shutil, subprocess, sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from conftest import root
from test_house import cells, every

from sneaker_classifier.files import sha256_of


class Text(HTMLParser):
    "The text of a page"
    def __init__(self, page):
        super().__init__()
        self.said = []
        self.feed(page)
    def handle_data(self, data): self.said.append(data)

def letters(text): return re.sub(r'\W|_', '', text)

def paragraphs(path):
    "What a notebook says, without the marks of markdown"
    for o in cells(path, 'markdown')[1:]:
        o = re.sub(r'^```.*?^```|<!--.*?-->', '', o, flags=re.S | re.M)
        for text in re.split(r'\n\s*\n|\n(?=[-|#\d])', o):
            if set(text)<=set('|- :\n'): continue
            text = re.sub(r'!\[[^]]*\]\([^)]*\)', '', text) # of a picture no text is on the page
            yield re.sub(r'<(https?:[^>]*)>', r'\1', re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', text)).lstrip('#- 0123456789.')


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "The documentation site, built by the command of the README"
    copy = tmp_path_factory.mktemp('site')/'project'
    left_out = '.git', '*.pkl', '*.safetensors', '__pycache__', '_docs', '_proc', 'data', 'tests'
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(*left_out))
    subprocess.run([sys.executable, 'docs.py'], cwd=copy, check=True, capture_output=True)
    return copy/'_docs'


def address(path): return re.sub(r'^\d+_', '', path.stem) + '.html'

@every
def test_the_site_says_what_the_notebook_says(path, site):
    page = letters(''.join(Text((site/address(path)).read_text(encoding='utf-8')).said))
    assert [o for o in paragraphs(path) if letters(o) not in page]==[]


class Links(HTMLParser):
    "Where a page leads, and what in it can be led to"
    def __init__(self, page):
        super().__init__()
        self.to,self.ids = set(),set()
        self.feed(page)
    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get('id'))
        self.to.update(attrs[o] for o in ('href', 'src') if attrs.get(o))

def test_every_link_leads_somewhere(site):
    pages = {p.resolve():Links(p.read_text(encoding='utf-8')) for p in site.rglob('*.html')}
    broken = []
    for page,links in pages.items():
        for to in links.to:
            url = urlsplit(to)
            if url.scheme or url.netloc: continue
            file = ((site if url.path.startswith('/') else page.parent)/unquote(url.path).lstrip('/')).resolve() if url.path else page
            if file.is_dir(): file /= 'index.html'
            known = file in pages and (not url.fragment or unquote(url.fragment) in pages[file].ids)
            if not known and not (file.is_file() and file not in pages): broken.append(f'{page.name}: {to}')
    assert not broken


class Parts(HTMLParser):
    "Elements of a page with their attributes"
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)
    def handle_starttag(self, tag, attrs): self.found.append((tag, dict(attrs)))

@pytest.fixture(scope='module')
def elements(site): return [(f.name, *o) for f in site.rglob('*.html') for o in Parts(f.read_text(encoding='utf-8')).found]


def test_every_picture_has_a_text(elements):
    pictures = [attrs for _,tag,attrs in elements if tag=='img']
    assert pictures and all('alt' in o for o in pictures)
    assert all(len(o['alt'])>10 for o in pictures if 'img-fluid' in o.get('class', ''))


def test_no_other_host_is_needed(elements, site):
    loaded = [(page, url) for page,tag,attrs in elements for url in (attrs.get('src'), attrs.get('href') if tag=='link' else None) if url]
    assert [o for o in loaded if re.match('https?:|//', o[1])]==[]
    assert [f.name for f in site.rglob('*.css') if re.search(r'(@import|url\().{0,3}https?:', f.read_text(encoding='utf-8'))]==[]


def test_names_lead_to_the_line_of_their_source(elements):
    sources = [attrs['href'] for _,tag,attrs in elements if tag=='a' and 'source' in attrs.get('class', '').split()]
    assert len(sources)>100
    for o in sources:
        file,_,line = o.partition('/blob/main/')[2].partition('#L')
        assert re.match('(async )?(def|class) |@', (root/file).read_text(encoding='utf-8').splitlines()[int(line)-1].strip()), o


def test_types_are_short(site):
    signatures = re.findall(r'<pre[^>]*signature.*?</pre>', (site/'network.html').read_text(encoding='utf-8'), flags=re.S)
    assert signatures and not any('torch.nn.' in ''.join(Text(o).said) for o in signatures)


def test_addresses_in_modules_are_pages(site):
    "Where a module says that its lesson is, it is"
    for f in (root/'sneaker_classifier').glob('*.py'):
        for o in re.findall(r'^Docs: \S+/(\S+\.html\.md)', f.read_text(encoding='utf-8'), flags=re.M): assert (site/o).is_file(), o


def test_the_page_to_try(site):
    "It is there, as sneaker-web writes it, or the site says why not"
    said = (site/'try.html').read_text(encoding='utf-8')
    if 'It is not in this copy' in said: return
    script = (site/'try'/'sw.js').read_text(encoding='utf-8')
    files = json.loads(script.partition('const site = ')[2].partition(';\n')[0])['files']
    assert 'src="try/index.html"' in said and all(sha256_of(site/'try'/path)==o for path,o in files.items())
