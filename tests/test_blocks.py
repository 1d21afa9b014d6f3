"Every block of code that people may copy from the front page and the how-to pages runs, or says why it does not run here"
import json, re, subprocess, sys

import pytest
from conftest import root

pages = [root/'README.md', *sorted((root/'nbs'/'howto').glob('*.ipynb'))]
languages = 'sh', 'powershell', 'python'


def text_of(path):
    if path.suffix=='.md': return path.read_text(encoding='utf-8')
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return '\n\n'.join(''.join(o['source']) for o in cells if o['cell_type']=='markdown')

def blocks(path):
    "Reason not to run it or an empty text, language, and code of each block"
    return re.findall(r'(?:<!-- not run: ([^\n]+) -->\n)?```(\w+)\n(.*?)```', text_of(path), re.S)


@pytest.mark.parametrize('path', pages, ids=lambda p: p.stem)
def test_blocks_run_or_say_why_not(path):
    found = blocks(path)
    unknown = {language for _,language,_ in found}-{*languages, 'mermaid', 'html'}
    assert not unknown

    silent = [code for reason,language,code in found if language in languages[:2] and not reason]
    assert not silent

    # The blocks of one page go on from each other.
    code = '\n'.join(code for reason,language,code in found if language=='python' and not reason)
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True)
    assert done.returncode==0, done.stderr


def test_a_block_without_a_reason_is_found(tmp_path):
    page = tmp_path/'page.md'
    page.write_text('```sh\nrm -r x\n```\n\n<!-- not run: it would -->\n```sh\nrm -r y\n```\n', encoding='utf-8')

    assert [reason for reason,*_ in blocks(page)]==['', 'it would']
