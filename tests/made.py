"What tests are made of: pictures in bytes, settings with changes, and a web server"
import configparser, io, struct, zlib
from pathlib import Path

from PIL import Image

root = Path(__file__).resolve().parent.parent


def encoded(im, fmt, **kw):
    "A picture as the bytes of a file"
    out = io.BytesIO()
    im.save(out, fmt, **kw)
    return out.getvalue()

def jpeg(im, quality=90, **kw): return encoded(im, 'JPEG', quality=quality, **kw)

def saved_anew(im, quality=85): return Image.open(io.BytesIO(jpeg(im, quality))).convert('RGB')

def chunk(kind, data):
    "A chunk of a PNG"
    return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))

def huge_png(width, height, rows=0):
    "A small PNG that claims to be enormous; `rows` of it are there"
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(rows*(3*width+1) or 1000), 1)
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', head)+chunk(b'IDAT', pixels)+chunk(b'IEND', b'')

def changed_settings(path, source=root/'settings.ini', **sections):
    "Write settings with other values to `path`: changed_settings(path, training=dict(epochs=1))"
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(source, encoding='utf-8')
    for section,values in sections.items():
        for key,value in values.items():
            assert key in ini[section], f'{source} has no {key} in [{section}]'
            ini[section][key] = str(value)
    with open(path, 'w', encoding='utf-8') as f: ini.write(f)
    return path
