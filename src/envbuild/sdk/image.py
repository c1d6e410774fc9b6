"""Images (``azureml.core.image``): the name that old scripts import, and what has taken its place.

Azure's ``Image`` was a model packed with its scoring script; environments, and deploying a model in one, replaced it
there too. Scripts still import the name beside `envbuild.sdk.Environment` without using it, so it is here.
"""

from __future__ import annotations

from envbuild.sdk.exceptions import UserErrorException


class Image:
    """What Azure's ``azureml.core.Image`` was: a model packed together with its scoring script. It cannot be made here.

    :raises UserErrorException: always; the message says what takes its place.
    """

    def __init__(self, *_: object, **__: object) -> None:
        raise UserErrorException(
            "images of models are not made by hand: Azure has withdrawn them too",
            hint="Environment.build builds an environment; Environment.get_image_details says what it has become",
        )
