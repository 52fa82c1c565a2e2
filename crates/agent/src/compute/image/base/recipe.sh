#!/bin/sh
# Makes the base image out of a file system that mmdebstrap has just filled with packages.
#
#   recipe.sh ROOT GIVEN    GIVEN holds requirements.txt and trusted.crt, may hold pip.conf and pip.crt, gets manifest.txt
set -eu

root=$1
given=$2
site=$root/tmp/recipe

say() { printf 'progress %s %s\n' "$1" "$2"; }
inside() {
    chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp/recipe LC_ALL=C.UTF-8 "$@"
}

mkdir -p "$site"
cp "$given"/* "$site"
trap 'umount "$root$place" 2>/dev/null || true; rm -rf "$site"' EXIT
place=/nowhere

say 62 'the user and the certificates'
inside useradd --uid 1000 --user-group --create-home --shell /bin/bash azureuser
# What this node trusts beyond its distribution, its instances trust too.
inside python3 -I - <<'END'
import pathlib, re

def certificates(path):
    found = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pathlib.Path(path).read_text(), re.S)
    return {"".join(one.split()): one for one in found}

known = certificates("/etc/ssl/certs/ca-certificates.crt")
trusted = certificates("/tmp/recipe/trusted.crt")
more = [trusted[key] for key in sorted(trusted) if key not in known]
for number, one in enumerate(more):
    pathlib.Path(f"/usr/local/share/ca-certificates/node-{number}.crt").write_text(one + "\n")
END
inside update-ca-certificates >/dev/null 2>&1

say 66 'the Python environments'
inside python3 -m venv --without-pip /opt/jupyter
inside python3 -m venv /opt/python

say 72 'JupyterLab'
# A directory of this node that pip is told to look in is seen at the same place inside.
case ${PIP_FIND_LINKS-} in
    /*[!A-Za-z0-9/._-]*) ;;
    /*) if [ -d "$PIP_FIND_LINKS" ] && [ ! -e "$root$PIP_FIND_LINKS" ]; then
        place=$PIP_FIND_LINKS
        mkdir -p "$root$place"
        mount --bind "$place" "$root$place"
    fi ;;
esac
env | sed -n 's/^\(PIP_[A-Z_]*\|[a-zA-Z]*_proxy\|[A-Z]*_PROXY\)=.*/\1/p' >"$given/names"
set --
while read -r name; do
    case $name in
        PIP_CERT | PIP_CONFIG_FILE | PIP_CLIENT_CERT | PIP_LOG | PIP_CACHE_DIR) ;;
        *) eval "set -- \"\$@\" \"$name=\$$name\"" ;;
    esac
done <"$given/names"
[ ! -e "$site/pip.conf" ] || set -- "$@" PIP_CONFIG_FILE=/tmp/recipe/pip.conf
certificates=/etc/ssl/certs/ca-certificates.crt
[ ! -e "$site/pip.crt" ] || certificates=/tmp/recipe/pip.crt
inside "$@" "PIP_CERT=$certificates" PIP_DISABLE_PIP_VERSION_CHECK=1 \
    /opt/python/bin/pip --python /opt/jupyter/bin/python install --quiet --no-cache-dir --only-binary :all: --no-deps \
    --requirement /tmp/recipe/requirements.txt
if [ "$place" != /nowhere ]; then
    umount "$root$place"
    rmdir -p --ignore-fail-on-non-empty "$root$place"
    place=/nowhere
fi

say 90 'the settings'
# A notebook runs in the environment that `pip install` fills; what Jupyter itself needs is found behind it.
jupyter=$(cd "$root" && echo opt/jupyter/lib/python3.*/site-packages)
python=$(cd "$root" && echo opt/python/lib/python3.*/site-packages)
printf '/%s\n' "$jupyter" >"$root/$python/jupyter.pth"
cat >"$root/opt/jupyter/share/jupyter/kernels/python3/kernel.json" <<'END'
{
  "argv": ["/opt/python/bin/python", "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
  "display_name": "Python 3",
  "language": "python",
  "metadata": {"debugger": true}
}
END
mkdir -p "$root/opt/jupyter/etc/jupyter"
# Nothing that would ask the internet on its own.
cat >"$root/opt/jupyter/etc/jupyter/jupyter_server_config.json" <<'END'
{
  "LabApp": {
    "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    "extension_manager": "readonly",
    "news_url": null
  }
}
END
cat >"$root/etc/profile.d/bastide.sh" <<'END'
# The environment of the user's own, before the distribution's.
PATH=/opt/python/bin:$PATH
export PATH
END
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ndisable-pip-version-check = true\n' >"$root/etc/pip.conf"
inside chown -R azureuser:azureuser /opt/python

say 93 'tidying up'
{
    inside dpkg-query --show --showformat '${Package} ${Version}\n'
    inside /opt/python/bin/pip --python /opt/jupyter/bin/python list --format freeze
} >"$given/manifest.txt"
# Keys are an instance's own; the rest is made anew by whoever needs it, or serves nobody here.
rm -rf "$root"/etc/ssh/ssh_host_* "$root"/etc/machine-id "$root"/var/lib/dbus/machine-id
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/log/*
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/*
find "$root/opt/jupyter" -name '*.js.map' -delete
: >"$root/etc/machine-id"
# Nobody becomes another user by a file, inside as well as outside.
find "$root" -xdev -type f -perm /6000 -exec chmod u-s,g-s {} +
