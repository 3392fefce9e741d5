"""The base class of settings: environment, secret files, `.env`."""

from app.security.core.settings import ROOT as ROOT
from app.security.core.settings import CommaSeparated as CommaSeparated
from app.security.core.settings import SecuritySettings as SecuritySettings
