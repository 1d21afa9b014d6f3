"Pictures as people have them: HEIF from phones, odd notes around whole pixels, and whatever else may be handed over"
import io, os, struct, subprocess, sys, textwrap, threading, time, zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import chunk, encoded
from PIL import Image, ImageCms, ImageOps
from pillow_heif import encode

from sneaker_classifier import BadImage, load_settings, open_image, sanitize
from sneaker_classifier.images import looks_like_picture, picture_header
from sneaker_classifier.samples import draw_shoe

shoe = draw_shoe('puma_suede', size=200).crop((0, 0, 200, 120))
srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def file(fmt, im=shoe, **kw): return encoded(im, fmt, **kw)


def heif(im=shoe, **kw):
    out = io.BytesIO()
    encode(im.mode, im.size, im.tobytes(), out, **kw)
    return out.getvalue()


def difference(a, b):
    assert a.size==b.size
    return np.abs(np.asarray(a, int)-np.asarray(b, int)).mean()


def note(turn):
    "EXIF: a name whose place is not in the file, how to turn, and an aperture of -1/0"
    tags = [(0x010F, 2, 9, 0xFFFF), (0x0112, 3, 1, turn<<16), (0x9202, 10, 1, 50)]
    return b'Exif\0\0MM\0*'+struct.pack('>IH', 8, 3)+b''.join(struct.pack('>HHII', *o) for o in tags)+bytes(4)+struct.pack('>ii', -1, 0)


# HEIF

def turned(n):
    "The shoe, turned by Pillow as the number says"
    exif = b'Exif\0\0MM\0*'+struct.pack('>IHHHII', 8, 1, 0x0112, 3, 1, n<<16)+bytes(4)
    return ImageOps.exif_transpose(Image.open(io.BytesIO(file('PNG', exif=exif))))

turns = {n:turned(n) for n in range(1, 9)}


@pytest.mark.parametrize('n', turns)
def test_heif_is_turned_once(n):
    exif = Image.Exif()
    exif[0x0112] = n
    data = heif(exif=exif.tobytes(), quality=90)

    assert difference(open_image(data), turns[n])<1.5
    # EXIF alone does not turn a HEIF.
    assert difference(open_image(data.replace(b'irot', b'free').replace(b'imir', b'free')), shoe)<1.5
    assert picture_header(data)[0]=='HEIF'


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGB', 'RGBA'])
def test_heif_of_every_mode(mode):
    assert difference(open_image(heif(shoe.convert(mode))), shoe.convert(mode.rstrip('A')).convert('RGB'))<3


def test_what_is_clear_in_a_heif_becomes_white():
    assert open_image(heif(Image.new('RGBA', (64, 64), (9, 9, 9, 0)))).getpixel((9, 9))==(255, 255, 255)


def nclx(primaries, transfer):
    return dict(color_primaries=primaries, transfer_characteristics=transfer, matrix_coefficients=6, full_range_flag=1)


@pytest.mark.parametrize('numbers, colour, expected', [
    ((12, 13), (234, 51, 35), (255, 0, 0)), ((1, 13), (234, 51, 35), (234, 51, 35)), ((2, 2), (234, 51, 35), (234, 51, 35)),
    ((9, 1), (128, 128, 128), (128, 128, 128)), ((9, 16), (148, 148, 148), (255, 255, 255)), ((9, 16), (0, 0, 0), (0, 0, 0))])
def test_colours_of_heif_become_srgb(numbers, colour, expected):
    data = heif(Image.new('RGB', (64, 64), colour), quality=-1, chroma=444, nclx_profile=nclx(*numbers))
    assert np.abs(np.subtract(open_image(data).getpixel((9, 9)), expected)).max()<=3


def test_profiles_of_heif_count_too():
    swapped = srgb
    for old,new in (b'rXYZ', b'tXYZ'), (b'bXYZ', b'rXYZ'), (b'tXYZ', b'bXYZ'), (b'desc\0\0\1', b'dmdd\0\0\1'):
        swapped = swapped.replace(old, new)

    red,_,blue = open_image(heif(Image.new('RGB', (64, 64), 'red'), icc_profile=swapped)).getpixel((9, 9))

    assert blue>200 and red<60


def test_of_several_pictures_the_main_one_counts():
    from pillow_heif import from_pillow
    several,out = from_pillow(Image.new('RGB', (64, 64), 'red')),io.BytesIO()
    several.add_from_pillow(Image.new('RGB', (96, 64), 'blue'))
    several.save(out, primary_index=1)

    assert picture_header(out.getvalue())==('HEIF', 96, 64) and open_image(out.getvalue()).getpixel((9, 9))[2]>200


def test_heif_has_limits_too():
    small = replace(load_settings().limits, max_megapixels=.02)
    with pytest.raises(BadImage, match='200 × 120 pixels; at most 0.02'): open_image(heif(), small)
    with pytest.raises(BadImage, match='only 200 × 120'): open_image(heif(), replace(small, min_side=150))
    with pytest.raises(BadImage, match='one side may be at most 1.5'): open_image(heif(), replace(small, max_megapixels=1, max_aspect=1.5))
    assert Image.open(io.BytesIO(sanitize(heif()))).size==(200, 120)


def test_heif_in_threads():
    whole = open_image(heif()).tobytes()
    with ThreadPoolExecutor(8) as pool: assert {o.tobytes() for o in pool.map(open_image, [heif()]*40)}=={whole}


def test_heif_is_loaded_when_it_comes():
    code = '''
        import io, sys
        from sneaker_classifier import open_image
        from PIL import Image
        out = io.BytesIO()
        Image.new('RGB', (64, 64)).save(out, 'AVIF')
        open_image(out.getvalue())
        print('pillow_heif' in sys.modules, 'HEIF' in Image.OPEN)'''

    done = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.split()==['False', 'False']


def box(kind, *parts): return struct.pack('>I4s', 8+sum(map(len, parts)), kind)+b''.join(parts)
def full(kind, *parts, version=0): return box(kind, bytes([version, 0, 0, 0]), *parts)
def ispe(width, height): return full(b'ispe', struct.pack('>II', width, height))
def grid(rows, columns, width, height): return struct.pack('>BBBBII', 0, 1, rows-1, columns-1, width, height)

def assemble(items, links=(), primary=1):
    "A HEIF of items, each of number, kind, data and properties, and of links, each of kind, from and to"
    owned = [o for *_,properties in items for o in properties]
    owners = [struct.pack('>HB', item, len(properties))+bytes(1+owned.index(o) for o in properties) for item,*_,properties in items]
    kinds = [full(b'infe', struct.pack('>HH4sx', item, 0, kind), version=2) for item,kind,*_ in items]
    references = [box(kind, struct.pack(f'>HH{len(ends)}H', start, len(ends), *ends)) for kind,start,ends in links]
    about = [full(b'hdlr', b'\0\0\0\0pict', bytes(13)), full(b'pitm', struct.pack('>H', primary)),
        full(b'iinf', struct.pack('>H', len(items)), *kinds),
        full(b'iref', *references),
        box(b'iprp', box(b'ipco', *owned), full(b'ipma', struct.pack('>I', len(owners)), *owners))]
    start = box(b'ftyp', b'heic\0\0\0\0mif1heic')
    blobs = list(dict.fromkeys(data for _,_,data,_ in items))   # the same bytes lie there once
    at = len(start)+8+4+sum(map(len, about))+16+14*len(items)+8
    places = {o:at+sum(map(len, blobs[:i])) for i,o in enumerate(blobs)}
    entries = [struct.pack('>HHHII', item, 0, 1, places[data], len(data)) for item,_,data,_ in items]
    iloc = full(b'iloc', b'\x44\0', struct.pack('>H', len(items)), *entries)
    return start+full(b'meta', *about, iloc)+box(b'mdat', *blobs)

def body(data, kind):
    at = data.index(kind)
    return data[at+4:at-4+int.from_bytes(data[at-4:at], 'big')]

coded = heif(Image.new('RGB', (640, 640), 'red'))
tile = b'hvc1', body(coded, b'mdat'), [ispe(640, 640), box(b'hvcC', body(coded, b'hvcC'))]
alpha = full(b'auxC', b'urn:mpeg:hevc:2015:auxid:1\0')

traps = dict(
    huge=(assemble([(1, b'hvc1', tile[1], [ispe(20_000, 20_000), tile[2][1]])]), '20,000 × 20,000'),
    wide=(assemble([(1, b'hvc1', tile[1], [ispe(20_000, 1000), tile[2][1]])]), 'one side'),
    small_claim=(assemble([(1, b'hvc1', tile[1], [ispe(64, 64), tile[2][1]])]), 'damaged'),
    many_tiles=(assemble([(1, *tile), (2, b'grid', grid(30, 30, 640, 640), [ispe(640, 640)])], [(b'dimg', 2, [1]*900)], 2),
        'its parts have 368,640,000 pixels'),
    grid_of_grids=(assemble([(1, *tile), *[(i, b'grid', grid(1, 2, 640, 640), [ispe(640, 640)]) for i in (2, 3)]],
        [(b'dimg', 3, [1]*2), (b'dimg', 2, [3]*2)], 2), 'of a kind that is not accepted'),
    laid_over=(assemble([(1, *tile), (2, b'iovl', struct.pack('>BB4HIIii', 0, 1, 0, 0, 0, 0, 20_000, 20_000, 0, 0), [ispe(640, 640)])],
        [(b'dimg', 2, [1])], 2), 'of a kind'),
    alpha_tiles=(assemble([(1, *tile), (3, tile[0], tile[1]+b'\0\0\0\1a', tile[2]),
        (2, b'grid', grid(30, 30, 640, 640), [ispe(640, 640), alpha])], [(b'dimg', 2, [3]*900), (b'auxl', 2, [1])]), 'its parts have'),
    same_notes=(assemble([(1, *tile), *[(i, b'Exif', bytes(5_000_000), []) for i in range(2, 900)]],
        [(b'cdsc', i, [1]) for i in range(2, 900)]), 'damaged'),
    many_items=(assemble([(1, *tile), *[(i, b'Exif', b'', []) for i in range(2, 5000)]]), 'damaged'),
    no_main=(assemble([(1, *tile)], primary=7), 'of a kind|damaged'),
    itself=(assemble([(1, b'grid', grid(2, 2, 640, 640), [ispe(640, 640)])], [(b'dimg', 1, [1]*4)]), 'of a kind'))


@pytest.mark.parametrize('name', traps)
def test_traps_in_heif(name):
    start = time.perf_counter()
    with pytest.raises(BadImage, match=traps[name][1]): open_image(traps[name][0])
    assert time.perf_counter()-start<5


def test_what_is_no_trap_opens():
    four = [(i, tile[0], tile[1]+struct.pack('>IB', 1, i), tile[2]) for i in range(1, 5)]
    grid_of_four = assemble([*four, (9, b'grid', grid(2, 2, 1200, 1100), [ispe(1200, 1100)])], [(b'dimg', 9, [1, 2, 3, 4])], 9)

    assert open_image(grid_of_four).size==(1200, 1100)
    assert open_image(grid_of_four+b'something of a maker').size==(1200, 1100)

    clear = assemble([(1, *tile), (2, tile[0], tile[1]+b'\0\0\0\1a', [*tile[2], alpha])], [(b'auxl', 2, [1])])
    assert open_image(clear).size==(640, 640)


# What is refused says what it is

tiff = b'II*\0'+struct.pack('<IH', 8, 2)
def tag(number, value): return struct.pack('<HHII', number, 4, 1, value)

others = {'it is a TIFF; save it as JPEG or PNG':file('TIFF'), 'it is a BMP':file('BMP'), 'icon':file('ICO'), 'JPEG 2000':file('JPEG2000'),
    'EPS':file('EPS'), 'DDS':file('DDS'), 'a PSD':b'8BPS\0\1'+bytes(20), 'JPEG XL':b'\xff\x0a'+bytes(20),
    # Raw files of Nikon and the like, in DNG, of Canon's two kinds, and of Fujifilm
    "a camera's raw photo":tiff+tag(0x010F, 0)+tag(0x014A, 0)+bytes(4), 'raw photo;':tiff+tag(0xC612, 1)+bytes(16),
    'raw photo; save':b'II*\0\x10\0\0\0CR\2\0'+bytes(30), 's raw':b'\0\0\0\x18ftypcrx \0\0\0\1crx isom', 'raw':b'FUJIFILMCCD-RAW '+bytes(9),
    'a video':b'\0\0\0\x18ftypmp42\0\0\0\0isommp42',
    'not a picture, but a video':b'\0\0\0\x14ftypqt  \0\0\0\0qt  ', 'but a video':b'\x1aE\xdf\xa3'+bytes(20),
    'an SVG drawing':b'<?xml version="1.0"?>\n<svg xmlns="...">', 'a web page':b'\xef\xbb\xbf<!DOCTYPE html><html>',
    'not a picture, but a PDF':file('PDF'), 'but text':'Schnürsenkel'.encode(), 'text':b'a'*999+'ü'.encode(),
    'a ZIP archive':b'PK\3\4'+bytes(20),
    'not a picture, or of a kind that is not accepted':bytes(range(256)), 'damaged or cut off':b'\x89PNG\r\n\x1a\n'+bytes(30)}


@pytest.mark.parametrize('words', others)
def test_what_is_refused_is_named(words):
    with pytest.raises(BadImage) as e: open_image(others[words])
    assert words in e.value.reason and '\n' not in str(e.value)


def test_first_bytes():
    for fmt in 'JPEG', 'PNG', 'WEBP', 'AVIF', 'GIF', 'MPO':
        assert looks_like_picture(file(fmt)[:16]) and picture_header(file(fmt))==('JPEG' if fmt=='MPO' else fmt, 200, 120)

    assert looks_like_picture(heif()[:16]) and not any(looks_like_picture(o[:16]) for words,o in others.items() if 'damaged' not in words)

    with pytest.raises(BadImage, match='TIFF'): picture_header(file('TIFF'))
    with pytest.raises(BadImage, match='damaged'): picture_header(heif()[:60])


# Odd notes

png = file('PNG')

def noted(*chunks): return png[:33]+b''.join(chunks)+png[33:]


@pytest.fixture(scope='module')
def gigabyte():
    "A megabyte that unpacks to a thousand"
    pack = zlib.compressobj(9)
    return b''.join(pack.compress(bytes(2**20)) for _ in range(1000))+pack.flush()


nonsense = np.random.default_rng(0).bytes(2_000_000)
odd_png = dict(no_tiff=noted(chunk(b'eXIf', b'hello')), no_exif=noted(chunk(b'eXIf', b'')),
    text=noted(chunk(b'tEXt', b'a\0'+bytes(2_000_000))),
    packed_text=noted(chunk(b'zTXt', b'a\0\0'+zlib.compress(bytes(2_000_000)))),
    world_text=noted(chunk(b'iTXt', b'a\0\1\0\0\0'+zlib.compress(nonsense))),
    text_after=png[:-12]+chunk(b'zTXt', b'a\0\0'+zlib.compress(bytes(2_000_000)))+png[-12:],
    profile=noted(chunk(b'iCCP', b'a\0\0'+zlib.compress(srgb+bytes(2_000_000)))),
    nonsense=noted(chunk(b'iCCP', b'a\0\0'+zlib.compress(nonsense))), method=noted(chunk(b'iCCP', b'a\0\7'+zlib.compress(srgb))),
    name=noted(chunk(b'tEXt', b'transparency\0hello')), profile_name=noted(chunk(b'tEXt', b'icc_profile\0hello')),
    short=noted(chunk(b'pHYs', b'1')), gamma=noted(chunk(b'gAMA', b'1')), clear=noted(chunk(b'tRNS', b'1')),
    film=noted(chunk(b'acTL', b'1')), frame=noted(chunk(b'fcTL', bytes(26))),
    no_end=png[:-12], cut_end=png[:-3])


@pytest.mark.parametrize('name', odd_png)
def test_odd_png(name):
    assert open_image(odd_png[name]).tobytes()==shoe.tobytes() and picture_header(odd_png[name])==('PNG', 200, 120)


@pytest.mark.parametrize('kind, head', [(b'zTXt', b'a\0\0'), (b'iTXt', b'a\0\1\0\0\0'), (b'iCCP', b'a\0\0')])
def test_notes_are_not_unpacked_to_gigabytes(kind, head, gigabyte):
    start = time.perf_counter()
    assert open_image(noted(chunk(kind, head+gigabyte))).tobytes()==shoe.tobytes()
    assert time.perf_counter()-start<5


@pytest.mark.parametrize('fmt', ['JPEG', 'PNG', 'WEBP', 'AVIF'])
def test_turned_though_other_notes_are_odd(fmt):
    plain = open_image(file(fmt))
    if fmt=='AVIF':   # Pillow does not write such EXIF there
        exif = Image.Exif()
        exif[0x0112],exif[0x010F] = 6,'x'*200
        data = file(fmt, exif=exif)
        at = data.index(b'MM\0*')
        data = data[:at]+note(6)[6:]+data[at+len(note(6))-6:]
    else: data = file(fmt, exif=note(6))

    assert difference(open_image(data), plain.transpose(Image.Transpose.ROTATE_270))==0
    assert picture_header(data)==(fmt, 200, 120)


def test_notes_of_jpeg_that_end_too_early():
    plain = open_image(file('JPEG'))
    odd_notes = [b'\xff\xe0\0\6JFIF', b'\xff\xee\0\7Adobe', b'\xff\xe2\0\x0eICC_PROFILE\0', b'\xff\xe1\0\x08Exif\0\0',
        b'\xff\xed\0\x14Photoshop 3.0\x008BIM', b'\xff\xe2\0\6MPF\0', b'\xff\xff']

    for odd in odd_notes:
        data = file('JPEG')
        assert difference(open_image(data[:2]+odd+data[2:]), plain)==0, odd


def test_fuzzed_notes_leave_the_pixels_alone():
    rng = np.random.default_rng(0)
    for fmt in 'JPEG', 'PNG', 'WEBP', 'AVIF':
        exif = Image.Exif()
        exif[0x010F],exif[0x011A] = 'a camera',72
        good = file(fmt, exif=exif)
        at = good.index(b'MM\0*') if b'MM\0*' in good else good.index(b'II*\0')
        for _ in range(100):
            data = np.frombuffer(good, np.uint8).copy()
            data[at+rng.integers(0, 50, 10)] = rng.integers(0, 256, 10)
            assert sorted(open_image(data.tobytes()).size)==[120, 200]


def many_pieces():
    jpeg,gif = file('JPEG'),file('GIF', Image.new('RGB', (64, 64), 'red'))
    at = gif.index(b',', 13+6*2**(gif[10]&7))
    return dict(chunks=png[:33]+chunk(b'abCd', b'')*1_500_000+png[33:], pixels=png[:33]+chunk(b'IDAT', b'')*1_500_000+png[33:],
        segments=jpeg[:2]+b'\xff\xe5\0\2'*4_500_000+jpeg[2:], fillers=jpeg[:2]+b'\xff'*18_000_000+jpeg[2:],
        exif=jpeg[:2]+(b'\xff\xe1\0\xc8Exif\0\0'+bytes(192))*90_000+jpeg[2:], remarks=gif[:at]+b'!\xfe\0'*6_000_000+gif[at:],
        remark=gif[:at]+b'!\xfe'+(b'\xff'+bytes(255))*70_000+b'\0'+gif[at:])


@pytest.mark.parametrize('name', ['chunks', 'pixels', 'segments', 'exif', 'fillers', 'remarks', 'remark'])
def test_millions_of_pieces_are_no_reason_to_wait(name):
    data,start = many_pieces()[name],time.perf_counter()
    try: open_image(data)
    except BadImage as e: assert 'damaged' in e.reason
    assert time.perf_counter()-start<5


@pytest.mark.parametrize('fmt', ['GIF', 'PNG', 'WEBP'])
def test_a_clear_first_frame_is_passed_over(fmt):
    clear = Image.new('RGBA', shoe.size)
    exact = dict(lossless=True) if fmt=='WEBP' else {}
    data = file(fmt, clear, save_all=True, append_images=[clear, shoe.convert('RGBA')], duration=[50, 60, 70], **exact)

    assert difference(open_image(data), shoe)<(5 if fmt=='GIF' else .1)
    assert open_image(file(fmt, clear)).getextrema()==((255, 255),)*3 # one that never shows anything

    frames = [*[clear.copy() for _ in range(20)], shoe.convert('RGBA')]
    late = file(fmt, clear, save_all=True, append_images=frames, duration=list(range(10, 230, 10)))
    assert open_image(late).size==shoe.size

    # A later frame that is broken does no harm to the first one.
    if fmt=='GIF': assert open_image(data[:-len(data)//3]).size==shoe.size


@pytest.mark.parametrize('bits, colour, clear', [(1, 0, (1,)), (2, 0, (1,)), (4, 0, (5,)), (8, 0, (85,)), (16, 0, (0,)), (16, 0, (21845,)),
    (8, 2, (10, 20, 30)), (16, 2, (2570, 5140, 7710)), (16, 2, (1, 2, 3))])
def test_a_clear_colour_is_clear_at_every_depth(bits, colour, clear):
    pixel = b''.join(struct.pack('>H' if bits==16 else 'B', o) for o in clear)
    row = b'\0'+(pixel*32 if bits>=8 else bytes([sum(clear[0]<<i for i in range(0, 8, bits))])*(4*bits))
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', 32, 32, bits, colour, 0, 0, 0))
    def of(*extra): return png[:8]+head+b''.join(extra)+chunk(b'IDAT', zlib.compress(row*32))+chunk(b'IEND', b'')
    seen = chunk(b'tRNS', struct.pack(f'>{len(clear)}H', *clear))

    assert open_image(of(seen)).getpixel((9, 9))==(255, 255, 255)
    assert open_image(of(seen, chunk(b'iCCP', b'a\0\0'+zlib.compress(srgb)))).getpixel((9, 9))==(255, 255, 255)
    if clear!=(1,) or bits!=1: assert open_image(of()).getpixel((9, 9))!=(255, 255, 255)


def test_memory_stays_small(tmp_path, gigabyte):
    "All traps in one process of its own"
    packed = [noted(chunk(kind, b'a\0\0'+gigabyte)) for kind in (b'zTXt', b'iCCP')]
    data = [*(o for o,_ in traps.values()), *packed, *many_pieces().values()]
    for i,o in enumerate(data): (tmp_path/str(i)).write_bytes(o)
    code = '''
        import sys
        from pathlib import Path
        from sneaker_classifier import BadImage, open_image
        for o in Path(sys.argv[1]).iterdir():
            try: open_image(o)
            except BadImage: pass
        # What resource says begins, on Linux, with what the program that started this one had.
        status = Path('/proc/self/status')
        if status.is_file(): print(int(status.read_text().split('VmHWM:')[1].split()[0])/1e3)
        elif sys.platform=='win32': print(0)
        else:
            import resource
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6)'''

    done = subprocess.run([sys.executable, '-c', textwrap.dedent(code), tmp_path], capture_output=True, text=True, check=True)

    assert float(done.stdout)<700


# What is kept

def test_what_is_kept_has_no_notes():
    notes = Image.Exif()
    notes[0x0112] = 6
    notes.get_ifd(0x8825)[1] = 'N'   # the GPS block
    dirty = file('JPEG', shoe.resize((3000, 1800)), exif=notes, comment=b'at home', icc_profile=srgb)+b'<script>alert(1)</script>'

    kept = sanitize(dirty)

    clean = Image.open(io.BytesIO(kept))
    assert clean.size==(614, 1024) and not clean.getexif() and not set(clean.info)&{'comment', 'icc_profile', 'exif'}
    assert b'script' not in kept


def test_large_photos_are_kept_as_they_are_the_quick_way_too():
    data = file('JPEG', draw_shoe('puma_suede', size=1000).resize((3000, 3000), Image.Resampling.BICUBIC), quality=95)
    slow = open_image(data)
    slow.thumbnail((1024, 1024), Image.Resampling.LANCZOS, reducing_gap=None)

    assert difference(Image.open(io.BytesIO(sanitize(data))), slow)<1.5


# Whatever else may be handed over

class Stream(io.RawIOBase):
    "Gives its parts one after the other, and raises those that are exceptions"
    def __init__(self, *parts): self.parts = list(parts)
    def readable(self): return True
    def read(self, n=-1):
        part = self.parts.pop(0) if self.parts else b''
        if isinstance(part, BaseException): raise part
        return part

def closed():
    f = io.BytesIO(png)
    f.close()
    return f


no_pictures = dict(keyboard=lambda: 0, screen=lambda: 1, truth=lambda: True, number=lambda: np.int64(0), fraction=lambda: 2.5,
    list=lambda: [png], dict=lambda: {}, type=lambda: io.BytesIO, closed=closed, text_mode=lambda: io.StringIO('text'),
    broken=lambda: Stream(png[:99], OSError('the line went dead')), wordless=lambda: Stream(png[:99], RuntimeError()),
    not_ready=lambda: Stream(None), gives_text=lambda: Stream('text'), ended=lambda: Stream(),
    half_a_letter=lambda: '\ud800.jpg', long=lambda: 'x'*5000, zero=lambda: Path('a\0b'), no_name=lambda: '',
    in_a_file=lambda: Path(__file__)/'x.jpg',
    one_number=lambda: np.zeros(()), no_pixels=lambda: np.zeros((0, 0, 3), np.uint8), no_width=lambda: np.zeros((64, 0, 3), np.uint8),
    objects=lambda: np.array([object()]*3), masked=lambda: np.ma.masked_array(np.zeros((64, 64, 3), np.uint8), mask=True),
    bits=lambda: np.zeros((64, 64, 3), bool), batch=lambda: np.zeros((1, 64, 64, 3), np.uint8),
    large=lambda: np.broadcast_to(np.uint8(0), (9000, 9000, 3)), floats=lambda: Image.new('F', (64, 64), .5),
    whole_numbers=lambda: Image.new('I', (64, 64), 40_000), empty_image=lambda: Image.new('RGB', (0, 0)),
    large_image=lambda: Image.new('L', (9000, 9000)))


@pytest.mark.parametrize('name', no_pictures)
def test_what_is_no_picture(name):
    with pytest.raises(BadImage) as e: open_image(no_pictures[name]())
    assert len(e.value.reason)>10 and '\n' not in e.value.reason


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr', 'HSV',
    'I;16', 'I;16B', 'I;16L', 'I;16N'])
def test_pillow_images_of_every_mode(mode):
    by = {'LA':['L'], 'La':['L', 'LA'], 'RGBa':['RGBA'], 'PA':['P']}.get(mode, [])
    im = Image.new(mode, (64, 64), 200*256) if mode.startswith('I') else Image.new('RGB', (64, 64), (200, 200, 200))
    for o in [] if mode.startswith('I') else [*by, mode]: im = im.convert(o)

    assert abs(np.asarray(open_image(im)).mean()-(255 if mode=='1' else 200))<60


def test_streams_are_read_to_their_end(tmp_path):
    ends,(out,into) = [],os.pipe()

    def feed():
        with open(into, 'wb') as f:
            for i in range(0, len(png), 1000):
                f.write(png[i:i+1000])
                f.flush()

    threading.Thread(target=feed).start()
    with open(out, 'rb', buffering=0) as pipe: ends.append(open_image(pipe))
    ends.append(open_image(Stream(*[png[i:i+7] for i in range(0, len(png), 7)])))
    ends.append(open_image(Stream(bytearray(png))))
    ends.append(open_image(memoryview(png[::-1])[::-1]))

    assert {o.tobytes() for o in ends}=={shoe.tobytes()}
    with pytest.raises(BadImage, match='larger than'): open_image(Stream(*[bytes(10**6)]*30))


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='Windows has no such files')
def test_devices_and_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path/'pipe.jpg')
    for src in tmp_path/'pipe.jpg', '/dev/zero', '/dev/null':
        with pytest.raises(BadImage, match='a device or a pipe'): open_image(src)


def test_paths_of_every_kind(tmp_path):
    path = tmp_path/'sch\u00fche \u2603.png'
    path.write_bytes(png)
    with os.scandir(tmp_path) as entries: assert [open_image(o).size for o in entries]==[(200, 120)]
    assert open_image(str(path)).size==open_image(path).size==(200, 120)
