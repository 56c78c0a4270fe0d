"""Compressing a user's own folder of images: what ``bench compress`` does, step by step.

``source`` finds the images, ``looking`` decodes them, ``choosing`` runs a method or joins
released indices, ``output`` writes what is kept, whole or not at all.
"""
