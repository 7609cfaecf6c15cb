"""Its settings; where things are comes of the environment."""

from __future__ import annotations

import os
from datetime import timedelta

SECRET_KEY = "no secret: this project exists in tests only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.support.django_site.urls"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "greenroom.integrations.django",
    "tests.support.django_site",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SITE_DATABASE", "unset.sqlite3"),
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
    }
}
GREENROOM = {
    "URL": os.environ.get("VALKEY_URL"),
    "PREFIX": "site:",
    "OUTBOX_EVERY": timedelta(seconds=float(os.environ.get("SITE_OUTBOX_EVERY", "10"))),
}
CACHES = {
    "default": {"BACKEND": "greenroom.integrations.django.Cache"},
    "other": {"BACKEND": "greenroom.integrations.django.Cache", "LOCATION": "other", "VERSION": 2},
    "pickles": {
        "BACKEND": "greenroom.integrations.django.Cache",
        "LOCATION": "pickles",
        "OPTIONS": {"pickle": True},
    },
    "prefixed": {
        "BACKEND": "greenroom.integrations.django.Cache",
        "KEY_PREFIX": "shop",
        "KEY_FUNCTION": "tests.support.django_site.keys.upper",
    },
}
SESSION_ENGINE = "greenroom.integrations.django.sessions"
SESSION_COOKIE_AGE = 3600
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
