"""Settings of the web application. What differs between trials comes from the trial's folder, which
`equipoise.conduct.opening.use` has set before Django reads this."""

from __future__ import annotations

from pathlib import Path

from csp.constants import NONE, SELF

from equipoise.conduct import opening

_HERE = Path(__file__).parent
_TRIAL = opening.folder()

SECRET_KEY = _TRIAL.key("web").hex()
DEBUG = False
ALLOWED_HOSTS = [*_TRIAL.hosts]
DATABASES = {"default": opening.database_settings(_TRIAL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "equipoise.conduct.urls"
WSGI_APPLICATION = "equipoise.conduct.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
USE_I18N = False

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "axes",
    "csp",
    "ninja",
    "equipoise.conduct",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "equipoise.conduct.middleware.ClockMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "equipoise.conduct.middleware.SessionMiddleware",
    "equipoise.conduct.middleware.ActorMiddleware",
    "equipoise.conduct.middleware.PlainErrorsMiddleware",
    "equipoise.conduct.access.AccessMiddleware",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [_HERE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "equipoise.conduct.pages.context.everywhere",
            ],
            "builtins": ["equipoise.conduct.pages.tags"],
        },
    }
]
STATIC_URL = "static/"
STATICFILES_DIRS = [_HERE / "static"]
STATIC_ROOT = _TRIAL.path / "data" / "static"
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# --- people -----------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "conduct.Person"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "equipoise.conduct.hashing.PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},  # OWASP ASVS 4.0, 2.1.1
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "today"
ACCOUNT_ADAPTER = "equipoise.conduct.accounts.Adapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_USER_MODEL_EMAIL_FIELD = "email"
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = True
ACCOUNT_REAUTHENTICATION_METHODS = {"password", "mfa"}
"""Not the third that django-allauth knows, a code sent by e-mail: it proves less than either."""
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_FORMS = {"change_password": "equipoise.conduct.accounts.NewPasswordForm"}
ACCOUNT_RATE_LIMITS: dict[str, str] | bool = False
"""Failed log-ins are counted by django-axes, for each pair of name and address. Limits for an address alone
would stop a hospital that has one address for all."""
MFA_ADAPTER = "equipoise.conduct.accounts.SecondFactor"
MFA_FORMS = {
    "authenticate": "equipoise.conduct.accounts.CodeForm",
    "reauthenticate": "equipoise.conduct.accounts.CodeAgainForm",
}
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not opening.behind_tls()
MESSAGE_TAGS = {25: "good", 30: "warn", 40: "bad"}
"""Success, warning and error as the stylesheet names them."""
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = False
MFA_TOTP_TOLERANCE = 1
"""Codes before and after the present one that count: RFC 6238, 5.2."""
MFA_TOTP_ISSUER = _TRIAL.name
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25
"""Hours. Five failures and a quarter of an hour are assumed: far below the 100 failures that NIST SP
800-63B allows (5.2.2), and short enough for a ward."""
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_HTTP_RESPONSE_CODE = 429
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_CALLABLE = "equipoise.conduct.accounts.locked_out"
AXES_HANDLER = "equipoise.conduct.accounts.Lockouts"
AXES_USERNAME_CALLABLE = "equipoise.conduct.accounts.lockout_name"
AXES_CLIENT_IP_CALLABLE = "equipoise.conduct.accounts.lockout_address"
AXES_DISABLE_ACCESS_LOG = True  # the ledger has it
AXES_VERBOSE = False

IDLE_MINUTES = 20
"""Minutes without a request after which a session ends; what was typed is kept as a draft. Assumed,
within the 30 that NIST SP 800-63B allows (4.2.3)."""

# --- what browsers are told -------------------------------------------------------------------------------

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_AGE = 12 * 3600
"""A session ends after this time however busy it was (NIST SP 800-63B, 4.2.3);
`middleware.SessionMiddleware` sees to both."""
SESSION_SAVE_EVERY_REQUEST = False
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
CSRF_COOKIE_HTTPONLY = False
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_USE_SESSIONS = False
SECURE_BEHIND_TLS = opening.behind_tls()
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_BEHIND_TLS
SESSION_COOKIE_NAME = "__Host-session" if SECURE_BEHIND_TLS else "session"
SECURE_SSL_REDIRECT = SECURE_BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE_BEHIND_TLS else None
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_BEHIND_TLS else 0
"""A year (RFC 6797; the lists that browsers preload ask for it)."""
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_BEHIND_TLS
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000
DATA_UPLOAD_MAX_NUMBER_FIELDS = 3000
"""Bytes and fields of the largest form (assumed)."""

LOGGING = opening.logging_settings(_TRIAL)
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "conduct_cache"}}
"""In the database, so that all processes of the server share it."""
