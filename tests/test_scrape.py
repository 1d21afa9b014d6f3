"Scraping: searches that are refused, servers that misbehave, addresses that point inwards, and runs that are killed"
import asyncio, hashlib, json, os, random, socket, ssl, subprocess, sys, threading, time, tracemalloc
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from inspect import signature
from urllib.parse import quote

import pytest
import trustme
from conftest import command, root
from ddgs import DDGS
from ddgs.engines import ENGINES
from local_web import LocalWeb, SearchWeb, mixed_paths, pictures

from sneaker_classifier import scrape as sc
from sneaker_classifier.settings import SneakerError, load_settings

home = ('127.0.0.0/8',)


def quick(web, **kw):
    "Settings for a local web: its port, and short times"
    s = load_settings(root/'settings.ini')
    changed = dict(ports=(80, 443, web.port), connect_timeout=2, read_timeout=2, file_timeout=3)
    return replace(s, scrape=replace(s.scrape, **{**changed, **kw}), limits=replace(s.limits, max_megabytes=1))


def results(web, paths): return [sc.ImageResult(o if '://' in o else web.url(o), 'shoe') for o in paths]


def diary(folder): return [json.loads(o) for o in (folder/'downloads.jsonl').read_text(encoding='utf-8').splitlines()]


def download(web, paths, folder, settings=None, **kw):
    "The report, and the lines by path"
    report = sc.download_images(results(web, paths), folder, 'shoe', settings=settings or quick(web), allow_networks=home, **kw)
    return report, {o['url'].removeprefix(web.url('')):o for o in diary(folder)}


# Searching: the real ddgs, with a local server for its proxy

@pytest.fixture
def authority(): return trustme.CA()


@pytest.fixture
def pauses(monkeypatch):
    waited = []
    monkeypatch.setattr(sc, 'sleep', waited.append)
    return waited


def library(web, authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path/'ca.pem')
    return DDGS(proxy=web.url(''), verify=str(tmp_path/'ca.pem'))


def pages(*sizes):
    numbers = iter(range(1000))
    return [[f'https://photos.example/{next(numbers)}.jpg' for _ in range(n)] for n in sizes]


def test_search_pages_until_there_are_enough(authority, pauses, tmp_path):
    with SearchWeb(authority, pages(100, 100, 100)) as web:
        found = sc.search_images('shoe', n=150, license='share', region='de-de', ddgs=library(web, authority, tmp_path))

    assert [o.url for o in found]==sum(pages(100, 100, 100), [])[:150]
    assert found[0]==sc.ImageResult('https://photos.example/0.jpg', 'shoe', 'shoe', 'https://shop.example/')
    host,args = web.searches[0]
    assert (host, len(web.searches), args['l'], args['p'])==('duckduckgo.com', 2, 'de-de', '1') and 'license:Share' in args['f']
    assert pauses==[]


def test_search_that_is_refused_waits_and_goes_on(authority, pauses, tmp_path, capsys):
    with SearchWeb(authority, pages(100), refuse={('duckduckgo.com', 'shoe'):2}) as web:
        found = sc.search_images('shoe', n=50, ddgs=library(web, authority, tmp_path))
    assert len(found)==50 and len(pauses)==2 and pauses[1]>pauses[0]/3>0
    assert 'duckduckgo gives nothing for page 1; waiting' in capsys.readouterr().err


def test_search_falls_to_another_engine_and_loses_no_other_query(authority, pauses, tmp_path):
    refuse = {('duckduckgo.com', 'bad'):99, ('www.bing.com', 'worse'):99, ('duckduckgo.com', 'worse'):99}
    with SearchWeb(authority, pages(20), refuse=refuse) as web:
        found = sc.search_images(('bad', 'worse', 'good'), n=30, ddgs=library(web, authority, tmp_path))

        assert [o.query for o in found]==['bad']+['good']*20
        assert found[0].url=='https://bing.example/1.jpg'

        # Bing cannot be asked for a licence
        web.searches.clear()
        assert sc.search_images('bad', n=30, license='public', ddgs=library(web, authority, tmp_path))==[]
        assert {host for host,_ in web.searches}=={'duckduckgo.com'}


def test_engines_are_those_of_the_library(): assert set(sc._engines)==set(ENGINES['images'])


def test_search_of_a_dead_network_gives_nothing_and_soon(pauses):
    assert sc.search_images(('shoe', 'sneaker', 'boot'), n=5, ddgs=DDGS(proxy='http://127.0.0.1:9'))==[]
    assert len(pauses)==len(sc._pauses)*len(sc._engines)


def test_offline_is_said_at_once(monkeypatch, tmp_path):
    def lookup(*args, **kw): raise socket.gaierror
    monkeypatch.setattr(sc.socket, 'getaddrinfo', lookup)
    monkeypatch.delenv('DDGS_PROXY', raising=False)
    with pytest.raises(SneakerError, match='Is this machine online'): sc.scrape(tmp_path, load_settings(root/'settings.ini'))


# Addresses that try to get in

# Some systems take these for addresses or know them by name, and others do not.
oddly_written = ['http://2130706433', 'http://0x7f.1', 'http://0177.0.0.1', 'http://127.1', 'http://0', 'http://localhost',
    'http://localhost.', 'http://１２７.０.０.１', 'http://127.0.0.1.', 'http://%', 'http://a.xn--a/x', 'http://a b', 'http://-.example',
    'http://*.example', f'http://{"a."*200}example', 'http://[fe80::1%25eth0]']
inwards = ['http://127.0.0.1', 'http://[::1]', 'http://[::ffff:10.0.0.1]', 'http://169.254.169.254', 'http://10.0.0.1', 'http://172.16.0.1',
    'http://192.168.1.1', 'http://100.64.0.1', 'http://224.0.0.1', 'http://240.0.0.1', 'http://255.255.255.255', 'http://[fd00::1]',
    'http://[fe80::1]', 'http://[2002:7f00:1::]', 'http://[64:ff9b::7f00:1]', 'http://[::7f00:1]', 'http://[ff02::1]',
    'http://[2001:db8::1]', 'http://[2001:0:7f00:1::]']
malformed = ['http://google.com@127.0.0.1', 'http://user:word@1.1.1.1', 'http://1.1.1.1:22', 'file:///etc/passwd', 'ftp://1.1.1.1/x',
    'gopher://1.1.1.1', 'data:image/png;base64,AA', '//1.1.1.1/x', 'http://', 'http:///x', 'http://1.1.1.1:99999', 'http://[::1',
    'javascript:alert(1)', '', 'http://a\nb', 'x'*100_000]
# Names and addresses that no library takes, or that one takes at first and chokes on later
odd = ['http://☃.example/', 'http://💩.la/x.jpg', 'http://xn--a.example/', 'http://xn--zzzzzz.example', 'http://xn--ls8h.la/',
    'http://XN--LS8H.la/', 'http://xn--/', 'http://xn---/', f'http://{"a"*64}.example/', f'http://example.{"a"*64}/', 'http://a..b/',
    'http://.example/', 'http://example..', 'http://.', 'http://[::1]x/', 'http://[v1.a]/', 'http://a.example:0/', 'http://a.example:-1/',
    'http://a.example:x/', 'http://xn--a.example@10.0.0.1/']
unsendable = ['http://a\0b/', 'http://a\tb/', 'http://a.example/\x1b', 'http://\ud800.example/', 'http://a.example/\ud800',
    'http://a.example?\udcff', f'http://a.example/{"x"*70_000}']
no_text = [None, 5, b'http://a.example/', {}.keys()]


class Connections(sc.httpcore.AnyIOBackend):
    "Stands below the check and notes which addresses are connected to"
    made = []
    async def connect_tcp(self, host, port, *args, **kw):
        self.made.append(host)
        raise sc.httpcore.ConnectError


@pytest.fixture
def connections(monkeypatch):
    Connections.made = []
    monkeypatch.setattr(sc.httpcore, 'AnyIOBackend', Connections)
    return Connections.made


def test_no_connection_is_made_inwards(tmp_path, connections):
    found = [sc.ImageResult(o, 'shoe') for o in inwards+malformed+odd+unsendable+oddly_written]

    sc.download_images(found, tmp_path, 'shoe', settings=load_settings(root/'settings.ini'))

    lines = {o['url']:o for o in diary(tmp_path)}
    assert {o:lines[o]['status'] for o in inwards+malformed+odd+unsendable if lines[o]['status']!='refused'}=={}
    assert {lines[o]['status'] for o in oddly_written}<={'refused', 'failed'}
    assert connections==[]


@pytest.mark.parametrize('url', [*odd, *unsendable, *no_text], ids=repr)
def test_odd_addresses_are_refused(url):
    with pytest.raises(sc.Refused): sc.check_url(url)


@pytest.mark.parametrize('url', ['http://a.example', 'HTTPS://A.example./x', 'http://faß.de/', 'http://xn--fa-hia.de/',
    'http://a_b.example/', 'http://a.example/%', 'http://a.example:80/x y', 'http://a。example/'])
def test_unusual_addresses_are_taken(url): assert sc.check_url(url).scheme in ('http', 'https')


def test_no_redirect_leads_inwards(tmp_path):
    with LocalWeb() as web, LocalWeb(hosts=('127.0.0.2' if sys.platform=='linux' else '127.0.0.1',)) as secret:
        # 127.0.0.1 itself is allowed by this very call.
        targets = [*inwards[1:], *malformed[:7], *odd, 'http://[::1', 'javascript:alert(1)', 'about:blank',
            f'http://127.0.0.2:{secret.port}/']

        sc.download_images(results(web, [f'/to/?url={quote(o)}' for o in targets]), tmp_path, 'shoe',
            settings=quick(web, ports=(80, 443, web.port, secret.port)), allow_networks=('127.0.0.1/32',))

    lines = diary(tmp_path)
    assert [o['url'] for o in lines if o['status']!='refused']==[] and len(lines)==len(targets) and secret.asked.total()==0


@pytest.mark.parametrize('answers', [[['1.1.1.1'], ['127.0.0.1']], [['1.1.1.1', '127.0.0.1']], [['127.0.0.1', '1.1.1.1']]])
def test_name_that_changes_its_mind(tmp_path, connections, monkeypatch, answers):
    turns = iter(answers)
    def lookup(host, port, **kw): return [(socket.AF_INET, socket.SOCK_STREAM, 6, '', (o, port)) for o in next(turns)]
    monkeypatch.setattr(sc.socket, 'getaddrinfo', lookup)

    found = [sc.ImageResult('http://twofaced.example/x.jpg', 'shoe')]
    sc.download_images(found, tmp_path, 'shoe', settings=load_settings(root/'settings.ini'))

    # The address that was checked is the one that is connected to; the name is not looked up a second time.
    assert connections==([] if '127.0.0.1' in answers[0] else ['1.1.1.1'])


def test_no_setting_and_no_flag_lets_anybody_in(tmp_path):
    with LocalWeb(pictures(1)) as web:
        report = sc.download_images(results(web, ['/good/0']), tmp_path, 'shoe', settings=quick(web))
        assert report.refused.total()==1 and web.asked.total()==0

    assert 'allow_networks' not in signature(sc.sneaker_scrape).parameters
    assert not any('network' in o for o in load_settings(root/'settings.ini').scrape.__dict__)


# Servers that misbehave

def test_hostile_answers_are_refused_with_a_reason(tmp_path):
    reasons = {'/huge/0':'larger than 1 MB', '/flood/0':'larger than 1 MB', '/drip/0':'longer than 3 s', '/gzip/0':'packed',
        '/html/x.jpg':'not a picture', '/svg/x.jpg':'not a picture', '/bomb/x.png':'more pixels|2,500,000,000|50,000',
        '/half/0':'damaged or cut off', '/cut/0':'broke off', '/loop/0':'more than 5 redirects', '/gone/0':'404', '/down/0':'503'}

    with LocalWeb(pictures(2, side=300)) as web:
        start = time.monotonic()
        report,lines = download(web, [*reasons, '/good/0', '/busy/1', '/to/?url=/good/0'], tmp_path)
        took = time.monotonic()-start

    said = {path:lines[path]['reason'] for path in reasons}
    wrong = {path:said[path] for path,words in reasons.items() if not any(o in said[path] for o in words.split('|'))}
    assert wrong=={}
    assert (report.new, report.doubled)==(2, 1) and took<12
    assert web.asked['/busy/1']==2 and web.asked['/down/0']==4 and web.asked['/loop/0']==6
    assert not [o for o in tmp_path.rglob('*') if o.name.endswith('.part')]


@pytest.mark.parametrize('words', ['identity', 'Identity', '', ' ', 'identity, identity', ',', 'none', 'None', 'binary', 'utf-8', '8bit',
    'image/jpeg'])
def test_words_that_pack_nothing(tmp_path, words):
    with LocalWeb(pictures(1)) as web: assert download(web, [f'/says/0?Content-Encoding={quote(words)}'], tmp_path)[0].new==1


@pytest.mark.parametrize('words', ['gzip', 'GZIP', 'x-gzip', 'deflate', 'br', 'Br', 'zstd', 'compress', 'identity, gzip', 'gzip,identity',
    ' gzip '])
def test_words_that_pack(tmp_path, words):
    with LocalWeb(pictures(1)) as web: report,_ = download(web, [f'/says/0?Content-Encoding={quote(words)}'], tmp_path)
    assert list(report.refused)==['the server sends it packed, which nobody asked for']


def test_one_odd_address_leaves_the_others_as_they_are(tmp_path, monkeypatch):
    troubles = [ssl.SSLError(1, 'bad record mac'), OSError(101, 'Network is unreachable'), KeyError('\x1b[2J'), RuntimeError(),
        RecursionError(), MemoryError(), UnicodeError('label too long'), LookupError('\ud800'),
        ExceptionGroup('two', [ValueError(), OSError()])]
    ask,paths = sc.Downloader._ask,[f'/good/{10+i}' for i in range(len(troubles))]
    async def asked(self, url, *args):
        if url.path in paths: raise troubles[paths.index(url.path)]
        return await ask(self, url, *args)
    monkeypatch.setattr(sc.Downloader, '_ask', asked)
    monkeypatch.setattr(sc, '_backoff', ())

    with LocalWeb(pictures(20)) as web:
        all_paths = ['/good/0', *odd, *unsendable, *paths, '/digits/5', '/good/1']
        report,lines = download(web, all_paths, tmp_path)

        assert (report.new, report.found)==(2, len(all_paths))
        assert (report.refused.total(), report.failed.total())==(len(odd)+len(unsendable)+1, len(troubles))
        assert 'KeyError' in lines[paths[2]]['reason'] and all(str(o['reason']).isprintable() for o in lines.values())

        assert download(web, all_paths, tmp_path)[0].known==len(all_paths) and len(diary(tmp_path))==len(all_paths)


def test_a_stop_is_no_trouble_of_an_address(tmp_path, monkeypatch):
    class Stop(BaseException): pass
    async def asked(*args): raise Stop
    monkeypatch.setattr(sc.Downloader, '_ask', asked)

    with LocalWeb(pictures(1)) as web, pytest.raises(BaseException) as e: download(web, ['/good/0'], tmp_path)

    assert isinstance(e.value, Stop) or e.value.subgroup(Stop)
    assert diary(tmp_path)==[]


def test_user_agent_names_the_project(tmp_path):
    with LocalWeb(pictures(1)) as web: download(web, ['/good/0'], tmp_path)
    [agent] = web.agents
    name,address = agent.split(' (+')
    assert name.startswith('sneaker-classifier/')
    assert f'Repository = "{address[:-1]}"' in (root/'pyproject.toml').read_text(encoding='utf-8')


def test_at_most_four_at_one_host_and_workers_altogether(tmp_path):
    hosts = [f'127.0.0.{i}' for i in range(1, 5)] if sys.platform=='linux' else ['127.0.0.1']
    with LocalWeb(pictures(40), hosts=hosts, slow=0.05) as web:
        paths = [f'/slow/{i}' for i in range(40)]
        urls = [web.url(o, h) for h in hosts for o in paths]
        sc.download_images([sc.ImageResult(o, 'shoe') for o in urls], tmp_path, 'shoe', settings=quick(web), allow_networks=home)

        assert set(web.most_at_once.values())=={4}
        if len(hosts)==1: return

        web.most_at_once.clear()
        # However they come, directly or by a redirect
        urls = [web.url(f'/to/{i}?url={web.url(f"/slow/{i}?again", hosts[0])}', h) for h in hosts[1:] for i in range(10)]
        sc.download_images([sc.ImageResult(o, 'shoe') for o in urls], tmp_path, 'shoe', settings=quick(web), allow_networks=home)

        assert web.most_at_once[f'{hosts[0]}:{web.port}']<=4


def test_retry_after():
    answer = lambda text: sc.httpx.Response(429, headers={'Retry-After':text.encode('latin-1')})
    assert sc._retry_after(answer('7'))==7 and sc._retry_after(answer('soon'))==0
    assert sc._retry_after(answer('²'))==0 and sc._retry_after(sc.httpx.Response(429))==0
    assert 25<sc._retry_after(answer(format_datetime(datetime.now(timezone.utc)+timedelta(seconds=30), usegmt=True)))<=30


def test_same_bytes_are_stored_once_whatever_the_address_says(tmp_path):
    with LocalWeb(pictures(1)) as web:
        report,lines = download(web, [f'/good/{i}.png' for i in range(30)], tmp_path)

    assert (report.new, report.doubled)==(1, 29)
    [file] = (tmp_path/'shoe').iterdir()
    assert file.name==hashlib.sha256(web.files[0]).hexdigest()+'.jpg' and file.read_bytes()==web.files[0]
    assert [o['status'] for o in diary(tmp_path)][0]=='new'


# Going on

def test_memory_does_not_grow_with_the_number(tmp_path):
    def peak(n, folder):
        tracemalloc.start()
        download(web, (f'/good/{i}' for i in range(n)), folder, settings=quick(web))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most
    files = pictures(8, side=400)
    with LocalWeb(files) as web:
        peak(20, tmp_path/'warm')
        small,large = peak(100, tmp_path/'small'),peak(800, tmp_path/'large')

    assert large<small+4e6, (small, large)


def test_works_inside_a_running_event_loop(tmp_path):
    async def main(): return download(web, ['/good/0'], tmp_path)[0]
    with LocalWeb(pictures(1)) as web: assert asyncio.run(main()).new==1


def test_what_failed_is_tried_on_another_day_and_given_up_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(sc, '_backoff', ())

    with LocalWeb() as web:
        report = download(web, ['/down/0'], tmp_path)[0]
        assert report.failed=={'the server answers 503 Service Unavailable':1}
        assert download(web, ['/down/0'], tmp_path)[0].known==1 and web.asked.total()==1

        monkeypatch.setattr(sc, '_again_after', timedelta(0))
        for _ in range(5): download(web, ['/down/0'], tmp_path)
        assert web.asked.total()==3


def test_diary_survives_every_cut(tmp_path):
    path = tmp_path/'downloads.jsonl'
    d = sc.Diary(path)
    for i in range(3): d.add(f'http://a/{i}é\udcff', 'refused', reason='Größe\n×')
    d.close()
    whole = path.read_bytes()
    ends = [i+1 for i,b in enumerate(whole) if b==10]

    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        d = sc.Diary(path)
        assert len(d.settled)==sum(e<=cut for e in ends)
        d.add('http://b/', 'refused')
        d.close()
        assert [json.loads(o)['status'] for o in path.read_text(encoding='utf-8').splitlines()]==['refused']*(sum(e<=cut for e in ends)+1)


def test_two_runs_do_not_share_a_folder(tmp_path):
    with LocalWeb(pictures(1), slow=1.5) as web:
        first = threading.Thread(target=download, args=(web, ['/slow/0'], tmp_path))
        first.start()
        while not web.asked.total(): time.sleep(0.01)

        with pytest.raises(SneakerError, match='Another run'): download(web, ['/good/0'], tmp_path)

        first.join()
        assert download(web, ['/good/0'], tmp_path)[0].doubled==1


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(part, path): raise OSError(28, 'No space left on device', str(path))
    monkeypatch.setattr(os, 'replace', full)

    with LocalWeb(pictures(5)) as web:
        with pytest.raises(SneakerError, match='the disk is full'): download(web, [f'/good/{i}' for i in range(5)], tmp_path)
        monkeypatch.undo()
        assert download(web, [f'/good/{i}' for i in range(5)], tmp_path)[0].new==5


def no_room(*args, **kw): raise OSError(28, 'No space left on device')


class FullDisk:
    "A temporary file that cannot be written"
    write,close = no_room,lambda self: None
    def __init__(self, **kw): pass


@pytest.mark.parametrize('owner,name,value', [(sc, 'SpooledTemporaryFile', FullDisk), (sc.Diary, 'add', no_room)])
def test_a_full_disk_anywhere_is_one_line(tmp_path, monkeypatch, owner, name, value):
    monkeypatch.setattr(owner, name, value)
    with LocalWeb(pictures(5)) as web:
        with pytest.raises(SneakerError, match='cannot be written'): download(web, [f'/good/{i}' for i in range(5)], tmp_path)
        monkeypatch.undo()
        assert download(web, [f'/good/{i}' for i in range(5)], tmp_path)[0].new==5


@pytest.mark.parametrize('file', ['raw', 'raw/shoe', 'raw/downloads.jsonl/x'])
def test_what_stands_in_the_way_is_one_line(tmp_path, file):
    "A file where a folder should be, and the other way round"
    (tmp_path/file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path/file).write_text('mine')
    with LocalWeb(pictures(1)) as web, pytest.raises(SneakerError, match='raw'): download(web, ['/good/0'], tmp_path/'raw')
    assert (tmp_path/file).read_text()=='mine'


child = '''
import sys, json
from dataclasses import replace
from sneaker_classifier import scrape as sc
from sneaker_classifier.settings import load_settings
sc._backoff = 0.1, 0.1, 0.1
folder,port,urls = sys.argv[1],int(sys.argv[2]),json.load(sys.stdin)
s = load_settings()
s = replace(s, scrape=replace(s.scrape, ports=(port,)), limits=replace(s.limits, max_megabytes=1))
print('ready', flush=True)
sc.download_images([sc.ImageResult(u, 'shoe') for u in urls], folder, 'shoe', settings=s, allow_networks=('127.0.0.0/8',))
'''


def run_child(web, paths, folder, kill_after=None):
    "Download in a process of its own; kill it after some seconds of work; whether it came to its end"
    p = subprocess.Popen([sys.executable, '-c', child, folder, str(web.port)], cwd=root, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    p.stdin.write(json.dumps([web.url(o) for o in paths]))
    p.stdin.close()
    assert p.stdout.readline()=='ready\n'
    try: p.wait(kill_after)
    except subprocess.TimeoutExpired: p.kill()
    return p.wait()==0


def contents(folder): return {o.name:o.read_bytes() for o in (folder/'shoe').iterdir()}


def final_state(folder):
    "Pictures to the byte, and what became of each address"
    lines = diary(folder)
    assert len(lines)==len({o['url'] for o in lines}), 'an address has two lines'
    kept = {o['url']:(o['sha256'] or '', o['reason']) if o.get('sha256') else (o['status'], o['reason']) for o in lines}
    assert sorted(o['file'] for o in lines if o['status']=='new')==sorted(f'shoe/{o}' for o in contents(folder))
    return contents(folder), {url.split('/', 3)[3]:o for url,o in kept.items()}


def killed_runs(folder, kills, n, seed=0):
    "Run undisturbed, then in pieces; returns both final states, and how many requests were made that a single run would not make"
    paths,rng = mixed_paths(n),random.Random(seed)
    files = pictures(n*9//10, side=64)   # so that some are doubled
    with LocalWeb(files, slow=0.3) as web:
        start = time.monotonic()
        assert run_child(web, paths, folder/'whole')
        whole = time.monotonic()-start
    for lap in range(1000):
        with LocalWeb(files, slow=0.3) as web:
            done = False
            while not done:
                done = run_child(web, paths, folder/f'cut{lap}', rng.uniform(0, whole) if kills>0 else None)
                kills -= not done
            yield final_state(folder/'whole'), final_state(folder/f'cut{lap}')
        if kills<=0: return


def test_killed_at_any_instant_it_ends_the_same(tmp_path):
    for whole,cut in killed_runs(tmp_path, kills=5, n=100): assert whole==cut


# The command

def test_command_needs_no_network_to_say_what_is_wrong(tmp_path):
    done = command('scrape', '--label', 'puma_sued', '--out', tmp_path, ok=False)
    assert 'Did you mean puma_suede?' in done.stderr


def test_scrape_from_search_to_table(authority, pauses, tmp_path):
    with LocalWeb(pictures(10)) as photos:
        found = [[photos.url(f'/good/{i}') for i in range(10)]+[photos.url('/gone/1')]]
        with SearchWeb(authority, found) as web:
            args = dict(labels=('puma_suede',), ddgs=library(web, authority, tmp_path), allow_networks=home)
            s = quick(photos, pictures=10)
            [report] = sc.scrape(tmp_path/'raw', s, **args)
            assert (report.asked, report.found, report.new)==(10, 10, 10)

            # Next Sunday there is one more
            found[0].append(photos.url('/good/10?'))
            photos.files.append(pictures(11)[10])
            before = photos.asked.total()
            s = quick(photos, pictures=12)
            [report] = sc.scrape(tmp_path/'raw', s, **args)
            assert (report.known, report.new, report.refused.total(), photos.asked.total()-before)==(10, 1, 1, 2)

    numbers,reasons = sc.report_tables([report])
    assert numbers.loc['puma_suede'].to_dict()==dict(asked=12, found=12, known=10, new=1, doubled=0, refused=1, failed=0)
    assert reasons.loc['the server answers 404 Not Found', 'puma_suede']==1
