set -eu
# What is made here is for its user alone; what is made in a session is as its user has it.
usual=$(umask)
umask 077
sshd=$(PATH="$PATH:/usr/sbin:/sbin" command -v sshd) || {
    echo "there is no sshd in this compute's image: install openssh-server" >&2
    exit 127
}
own=$HOME/.bastide/ssh
mkdir -p "$own"
if [ ! -s "$own/host_key" ]; then
    new=$(mktemp -d "$own/new.XXXXXX")
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$new/key"
    # Of two connections that come first, one's key stays.
    ln "$new/key" "$own/host_key" 2>/dev/null || true
    rm -r "$new"
fi
keys=$BASTIDE_SSH_KEYS
unset BASTIDE_SSH_KEYS
file() {
    text=$(cat)
    name=$own/$(printf '%s' "$text" | sha256sum | cut -c 1-32)
    [ -e "$name" ] || { printf '%s\n' "$text" >"$name.$$" && mv "$name.$$" "$name"; }
    printf '%s' "$name"
}
variables() {
    env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' | while read -r name; do
        case $name in
            HOME | LOGNAME | OLDPWD | PWD | SHELL | SHLVL | TERM | USER | _) continue ;;
        esac
        eval "value=\$$name"
        case $value in
            *[[:cntrl:]]*) continue ;;
        esac
        printf ' "%s=%s"' "$name" "$(printf '%s' "$value" | sed 's/["\\]/\\&/g')"
    done
}
keys=$(printf '%s\n' "$keys" | file)
configuration=$(
    {
        printf 'HostKey %s\n' "$own/host_key"
        printf 'AuthorizedKeysFile %s .ssh/authorized_keys\n' "$keys"
        printf 'StrictModes no\nUsePAM no\nPidFile none\nPrintMotd no\nPrintLastLog no\nX11Forwarding no\n'
        printf 'PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\n'
        printf 'Subsystem sftp internal-sftp\nClientAliveInterval 30\nMaxSessions 100\n'
        printf 'SetEnv%s\n' "$(variables)"
    } | file
)
umask "$usual"
exec "$sshd" -i -e -f "$configuration"
