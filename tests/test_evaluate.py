"Scores, thresholds and doubt, at their edges"
import numpy as np
import pytest
from conftest import needs

needs('fastai')
from sneaker_classifier import SneakerClassifier
from sneaker_classifier.evaluate import (brand_threshold, calibrate, cross_fitted, false_certainty, sure_threshold, validation_logits,
    validation_report)
from sneaker_classifier.files import SneakerError


@pytest.fixture(scope='module')
def clf(): return SneakerClassifier.load()

@pytest.fixture(scope='module')
def report(clf): return validation_report(clf)


def test_scores_add_up(clf, report):
    scores = report.per_class()

    assert (len(scores), len(report.per_brand()))==(len(clf.labels), len(clf.brands))
    assert scores.eval('recall*pictures').sum()/len(report.answers)==pytest.approx(report.metrics['top1'], abs=2e-3)
    assert report.confused(1000).pictures.sum()==(~report.right).sum()
    assert report.metrics['top1']<=min(report.metrics['top3'], report.metrics['brand'])


def test_confusion_of_all_classes_and_of_some(report):
    from matplotlib import pyplot as plt
    for n in (None, 8): assert len(report.plot_confusion(n).get_xticks())==(n or len(report.names))
    plt.close('all')


@pytest.mark.parametrize('scores, correct, precision, threshold', [
    ([.9, .9, .5], [True, False, True], .6, .5),
    ([.9, .8, .7], [True, True, False], .95, .8)])
def test_the_lowest_threshold_that_is_precise_enough(scores, correct, precision, threshold):
    assert sure_threshold(np.array(scores), np.array(correct), precision)==threshold


@pytest.mark.parametrize('scores, correct, precision', [([.9, .8], [False, False], .95), ([.9, .9], [True, False], .6)])
def test_where_no_threshold_is_precise_enough(scores, correct, precision):
    "Answers of one score are sure together or not at all"
    assert .9<sure_threshold(np.array(scores), np.array(correct), precision)<.91


def test_hardly_any_stranger_is_sure():
    logits,targets = np.eye(3).repeat(50, 0)*9,np.arange(3).repeat(50)
    strangers = np.zeros((100, 3))
    strangers[:, 0] = np.arange(100)/9   # the last ones further ahead than any picture kept back

    def limit(unknown): return calibrate(logits, targets, .95, unknown)[2]

    assert limit(strangers[:0])==9
    assert (strangers[:, 0]>=limit(strangers)).sum()==3
    assert limit(strangers[:60])==9   # none of them is in the way


def test_sure_answers_are_as_familiar_as_nine_in_ten_pictures():
    "However far an answer is ahead, what is less familiar does not count"
    targets = np.zeros(100, int)
    logits = np.stack([np.arange(100.), np.full(100, -99.)], 1)
    strangers = np.array([[9., -1000.]]*50)

    _,familiar,clear = calibrate(logits, targets, .95, strangers)

    assert familiar==pytest.approx(9.9) and clear<=109   # the strangers, 1009 ahead, raise no limit


def test_a_familiar_brand_is_as_familiar_as_nine_in_ten_pictures():
    "Where certain brands are often wrong, it has to be more familiar than that"
    brands,targets = np.array(['a', 'a', 'b']),np.zeros(100, int)
    logits = np.stack([np.arange(100.), np.arange(100.), np.full(100, -99)], 1)
    assert brand_threshold(logits, targets, brands, 1., .9)==pytest.approx(9.9)

    targets[::2][:30] = 2   # every other one of the first 60

    assert brand_threshold(logits, targets, brands, 1., .9)==49


def test_brands_have_figures_of_their_own(report):
    a,m = report.answers,report.metrics
    assert m['brand_coverage']==round(a.brand_sure.mean(), 4)>=m['coverage'] and a.brand_sure[a.sure].all()
    assert m['brand_precision_when_sure']==round(report.hits.brand[a.brand_sure].mean(), 4)


def test_a_single_picture_is_judged_by_itself(clf):
    logits,targets,groups = validation_logits(clf)
    assert 0<=cross_fitted(logits[:1], targets[:1], groups[:1], np.array([c.brand for c in clf.classes.values()]), .95,
        logits[:0])['ece']<=1


def test_nothing_unknown(clf):
    with pytest.raises(SneakerError, match='nowhere is not a folder'): false_certainty(clf, 'nowhere')
    with pytest.raises(SneakerError, match='no picture of something unknown'): false_certainty(clf, [b'no picture'])
