# Sourced by quickstart and test: the project's environment in .venv.
# Needs no root; says in one line which system packages are missing.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
name=$(basename "$0")

fail() {
    echo "$name: $*" >&2
    exit 1
}

# Python, its venv module and headers, and a C++ compiler, by their Debian names.
check_system() {
    local python=${PYTHON:-python3} missing=() include
    [[ -x $venv/bin/python ]] && python=$venv/bin/python
    if ! command -v "$python" >/dev/null; then
        missing+=(python3 python3-venv python3-dev)
    else
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
            fail "Python 3.11 or newer is needed, $python is $("$python" -V 2>&1);" \
                "set PYTHON to a newer one"
        [[ -x $venv/bin/pip ]] || "$python" -c 'import venv, ensurepip' 2>/dev/null ||
            missing+=(python3-venv)
        include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
        [[ -e $include/Python.h ]] || missing+=(python3-dev)
    fi
    command -v c++ >/dev/null || command -v "${CXX:-g++}" >/dev/null || missing+=(build-essential)
    ((${#missing[@]} == 0)) ||
        fail "missing system packages, run 'sudo apt-get install ${missing[*]}'"
    # a .venv without pip is a creation that was cut short
    [[ -x $venv/bin/pip ]] || "$python" -m venv --clear "$venv"
}

# install ARGUMENTS...: into .venv, quietly.
install() {
    echo "$name: installing into $venv (a few minutes the first time)" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" ||
        fail "pip install failed (see above); it needs the network, or a filled pip cache"
}
