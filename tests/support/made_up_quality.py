from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import measure_study
from proxyflow.report.vocabulary import VOCABULARY
from made_up_studies import target_curves
def quality_of(trainings, bootstrap=200):
    return measure_study(trainings, QualityOptions(bootstrap=bootstrap), VOCABULARY, target_curves(trainings))
