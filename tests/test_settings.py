"Settings: labels in every script, files that leave something out, and what is said of a mistake"
import pytest
from conftest import command, root
from made import changed_settings

from sneaker_classifier.settings import SettingsError, is_label, load_settings, to_label

text = (root/'settings.ini').read_text(encoding='utf-8')


@pytest.mark.parametrize('name, label', [('<img src=x onerror=alert(1)>', 'img_src_x_onerror_alert_1'), ('Puma_Suede', 'puma_suede'),
    ('puma suede', 'puma_suede'), ('ＰＵＭＡ—ｓｕｅｄｅ', 'puma_suede'), ('Air Force 1!', 'air_force_1')])
def test_names_become_labels(name, label): assert to_label(name)==label


@pytest.mark.parametrize('name', ['найк_1', 'ナイキ_1', 'นไกก_ี้', 'é'])
def test_labels_in_every_script(name): assert is_label(to_label(name))


@pytest.mark.parametrize('name', ['', '_', 'a__b', 'Найк', 'e\u0301', 'a\u202eb', '👟', 'con', 'я'*65])
def test_what_is_no_label(name): assert not is_label(name)


def test_the_file_of_the_project():
    s = load_settings(root/'settings.ini')
    assert s.brands==['Nike', 'Adidas', 'Puma']
    assert (s.training.architecture, s.training.epochs, s.app.host, s.app.port)==('auto', 10, '127.0.0.1', 7860)
    assert (s.scratch.start, s.scratch.epochs, s.scratch.size)==('scratch', 10, 64)


def test_a_start_from_scratch_has_numbers_of_its_own(tmp_path):
    path = changed_settings(tmp_path/'settings.ini', training=dict(start='scratch'))
    assert load_settings(path).training==load_settings(root/'settings.ini').scratch


def test_sections_left_out_come_from_the_package(tmp_path):
    path = tmp_path/'settings.ini'
    path.write_text('[app]\nhost = localhost\nport = 7000', encoding='utf-8')
    s = load_settings(path)
    assert s.app.port==7000 and s.scratch==load_settings(root/'settings.ini').scratch


@pytest.mark.parametrize('old, new, words', [
    ('epochs = 10', 'epochs = ten', "[training] epochs = 'ten' cannot be used. It should be a whole number from 1 to 1000."),
    ('epochs = 10', 'epoch = 10', 'Did you mean epochs?'), ('127.0.0.1\nport', '0.0.0.0\nport', "host = '0.0.0.0'"),
    ('[training]', '[trainning]', '[trainning]: neither a section of settings nor a label for a class. Did you mean training?'),
    ('brand = Puma', 'brand = <b>Puma</b>', "brand = '<b>Puma</b>'"), ('[puma_suede]', '[nike_air_force_1]', 'already exists'),
    ('repeats = 8', 'start = imagenet', '[scratch] start: there is no such key')])
def test_what_a_mistake_looks_like(old, new, words, tmp_path):
    path = tmp_path/'settings.ini'
    path.write_text(text.replace(old, new), encoding='utf-8')
    with pytest.raises(SettingsError) as e: load_settings(path)
    assert words in str(e.value)


def test_a_file_that_is_not_there():
    with pytest.raises(SettingsError, match='cannot be read'): load_settings('nowhere.ini')


def test_a_file_of_ones_own(tmp_path):
    assert 'settings.ini is written' in command('settings', cwd=tmp_path).stdout
    assert (tmp_path/'settings.ini').read_text(encoding='utf-8')==text

    (tmp_path/'settings.ini').write_text('[app]', encoding='utf-8')
    assert 'It stays as it is.' in command('settings', cwd=tmp_path, ok=False).stderr
    assert (tmp_path/'settings.ini').read_text(encoding='utf-8')=='[app]'
