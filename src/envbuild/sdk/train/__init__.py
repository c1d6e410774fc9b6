"""Estimators: a script, its packages and its data said at once (``azureml.train``).

Azure has deprecated them for `envbuild.sdk.ScriptRunConfig`, which is what they come to; they are here so that code
which has them runs.
"""
