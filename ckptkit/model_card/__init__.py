"""The parts of a model card: facts of a lineage as Markdown, by section, and the YAML block of the Hub.

Sections are those of Mitchell et al. 2018, "Model Cards for Model Reporting" (https://arxiv.org/abs/1810.03993).
"""
