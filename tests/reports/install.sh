#!/usr/bin/env bash
# Installs a browser and pdflatex where that is possible; elsewhere the tests that use them are
# skipped, with the reason.
set -euo pipefail
programs=(chromium chromedriver pdflatex pdftotext)
if command -v "${programs[@]}" | wc -l | grep -qx "${#programs[@]}"; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "no root or no apt-get: tests with a browser and with pdflatex will be skipped" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
get=(apt-get -qq -y -o DPkg::Lock::Timeout=300) # another apt-get may be at work
"${get[@]}" update && "${get[@]}" install --no-install-recommends \
    chromium chromium-driver texlive-latex-base texlive-latex-recommended poppler-utils >/dev/null ||
    echo "apt-get failed: tests with a browser and with pdflatex will be skipped" >&2
