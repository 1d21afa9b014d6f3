"A small web on this machine, with everything that a program meets out there"
import asyncio, gzip, io, json, random, re, ssl, threading
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import numpy as np
from made import huge_png
from PIL import Image

unknown = -1   # the length of a body that ends when the server hangs up
svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def pictures(n, side=48):
    "Different JPEG files, by number"
    rng,files = np.random.default_rng(0),[]
    for _ in range(n):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)).save(out, 'JPEG')
        files.append(out.getvalue())
    return files


class LocalWeb:
    "Answers on addresses of this machine, in a thread of its own; counts what it is asked for"
    def __init__(self, files=(), hosts=('127.0.0.1',), slow=1., tls=None):
        self.files,self.hosts,self.slow,self.tls = files,hosts,slow,tls
        self.asked,self.agents,self.at_once,self.most_at_once = Counter(),set(),Counter(),Counter()

    def __enter__(self):
        self.loop,ready = asyncio.new_event_loop(),threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()
        return self

    def _run(self, ready):
        asyncio.set_event_loop(self.loop)
        first = self.loop.run_until_complete(asyncio.start_server(self._client, self.hosts[0], 0, backlog=1000))
        self.port = first.sockets[0].getsockname()[1]
        for host in self.hosts[1:]: self.loop.run_until_complete(asyncio.start_server(self._client, host, self.port, backlog=1000))
        ready.set()
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for o in tasks: o.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    def __exit__(self, *args):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def url(self, path, host=None): return f'http://{host or self.hosts[0]}:{self.port}{path}'

    async def _client(self, reader, writer):
        try:
            while await self._answer(reader, writer): pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError): pass
        finally: writer.close()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b'\r\n\r\n')).decode('latin-1')
        method,path = head.split(' ')[:2]
        if method=='CONNECT': return await self._tunnel(reader, writer, path)
        self.asked[path] += 1
        self.agents |= set(re.findall('(?mi)^user-agent: (.*?)\r?$', head))
        host = re.search('(?mi)^host: (.*?)\r?$', head)[1]
        self.at_once[host] += 1
        self.most_at_once[host] = max(self.most_at_once[host], self.at_once[host])
        try:
            status,headers,body,*rest = await self.answer(host, path)
            if method=='HEAD': body,rest = b'',[len(body)]
            return await self._send(writer, status, headers, body, *rest) or method=='HEAD'
        finally: self.at_once[host] -= 1

    async def _tunnel(self, reader, writer, target):
        "What a proxy does, except that this server is the other end too"
        writer.write(b'HTTP/1.1 200 Connection established\r\n\r\n')
        await writer.drain()
        await writer.start_tls(self.tls)
        return True

    async def _send(self, writer, status, headers, body, length=None, pause=None, piece=1):
        length = len(body) if length is None else length
        size = 'Connection: close' if length==unknown else f'Content-Length: {length}'
        lines = [f'HTTP/1.1 {status} -', size, *(f'{k}: {v}' for k,v in headers.items())]
        writer.write('\r\n'.join(lines).encode()+b'\r\n\r\n'+body)
        await writer.drain()
        while pause is not None:
            await asyncio.sleep(pause)
            writer.write(bytes(piece))
            await writer.drain()
        return length==len(body)

    async def answer(self, host, path):
        """Status, headers and body for a path such as /slow/7

        Perhaps also a length that differs, how long to wait before each further piece, and the bytes of such a piece."""
        kind,_,rest = path.strip('/').partition('/')
        number = int(re.match(r'\d*', rest)[0] or 0)
        picture = self.files[number%len(self.files)] if self.files else b''
        if kind=='slow': await asyncio.sleep(self.slow)
        if kind=='busy' and self.asked[path]==1: return 429, {'Retry-After':'1'}, b''
        if kind in ('good', 'slow', 'busy'): return 200, {}, picture
        # Headers of one's choice: /says/7?Content-Encoding=none
        if kind=='says': return 200, {k:v[0] for k,v in parse_qs(urlsplit(path).query, keep_blank_values=True).items()}, picture
        if kind=='digits': return 200, {}, picture, '9'*5000   # more than Python makes a number of
        if kind=='loop': return 302, {'Location':f'/loop/{rest}'}, b''
        if kind=='to': return 302, {'Location':parse_qs(urlsplit(path).query)['url'][0]}, b''
        if kind=='endless': return 200, {}, picture, unknown, 0.05, 2**16
        if kind=='flood': return 200, {}, picture, unknown, 0, 2**16
        if kind=='huge': return 200, {}, picture, 10**10, 0, 2**16
        if kind=='drip': return 200, {}, picture[:20], 1000, 0.1
        if kind=='cut': return 200, {}, picture[:len(picture)//2], len(picture)
        if kind=='half': return 200, {}, picture[:len(picture)//2]
        if kind=='html': return 200, {'Content-Type':'image/jpeg'}, b'<html>Buy new laces!</html>'
        if kind=='svg': return 200, {'Content-Type':'image/svg+xml'}, svg
        if kind=='gzip': return 200, {'Content-Type':'image/png', 'Content-Encoding':'gzip'}, gzip.compress(bytes(10**7))
        if kind=='bomb': return 200, {'Content-Type':'image/png'}, huge_png(50_000, 50_000)
        if kind=='down': return 503, {}, b''
        return 404, {}, b''


def mixed_paths(n, seed=0):
    "The paths of a web of which 10% is slow, 10% broken, 5% turns in circles, 5% never ends and 5% is busy"
    kinds = ['slow']*10+['html', 'half', 'cut', 'gone', 'bomb']*2+['loop']*5+['endless']*5+['busy']*5+['good']*65
    paths = [f'/{kinds[i%100]}/{i}' for i in range(n)]
    random.Random(seed).shuffle(paths)
    return paths


class SearchWeb(LocalWeb):
    "Answers as duckduckgo.com and www.bing.com do, to a client that uses it as its proxy"
    def __init__(self, authority, pages, refuse=(), **kw):
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert('duckduckgo.com', 'www.bing.com').configure_cert(tls)
        super().__init__(tls=tls, **kw)
        # pages: addresses of pictures, a list for each page; refuse: (host, query) -> how many requests are refused
        self.pages,self.refuse,self.searches = pages,dict(refuse),[]

    async def answer(self, host, path):
        url = urlsplit(path)
        args = {k:v[0] for k,v in parse_qs(url.query).items()}
        if url.path=='/' and host=='duckduckgo.com': return 200, {}, b'<script>vqd="4-123456789";</script>'
        self.searches.append((host, args))
        key = (host, args['q'])
        if self.refuse.get(key, 0)>0:
            self.refuse[key] -= 1
            return 403, {}, b'Ratelimit'
        if host=='duckduckgo.com':
            assert args['vqd']=='4-123456789' and url.path=='/i.js'
            page = int(args.get('s', 0))//100
            found = self.pages[page] if page<len(self.pages) else []
            same = dict(title=args['q'], url='https://shop.example/', height=9, width=9, source='Bing')
            rows = [dict(same, image=o, thumbnail=o) for o in found]
            return 200, {'Content-Type':'application/json'}, json.dumps(dict(results=rows)).encode()
        found = ['https://bing.example/1.jpg'] if args['first']=='1' else []
        about = [json.dumps(dict(t='x', murl=o, turl=o, purl=o)) for o in found]
        rows = [f"<div><div class='imgpt'><a class='iusc' m='{o}'></a></div><div class='infopt'></div></div>" for o in about]
        return 200, {'Content-Type':'text/html'}, f"<html><body>{''.join(rows)}</body></html>".encode()
