"""Backbones, classifiers, views of images, and rows as nets see them."""
