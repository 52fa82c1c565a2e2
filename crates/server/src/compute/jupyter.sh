set -eu
# Where the image that Bastide makes has it; other images have it on their PATH.
PATH=$PATH:/opt/jupyter/bin
command -v jupyter-lab >/dev/null || exit 127
(umask 077 && mkdir -p "$HOME/.bastide" && touch "$HOME/.bastide/jupyter.log")
cd "$HOME"
# Its terminals are the shell of the account, or else the plainest there is.
SHELL=${SHELL:-$(getent passwd "$(id -u)" | cut -d: -f7)}
export SHELL=${SHELL:-/bin/sh}
setsid jupyter-lab --no-browser \
    --ServerApp.sock="$BASTIDE_JUPYTER_SOCKET" --ServerApp.sock_mode=0600 \
    --IdentityProvider.token= --PasswordIdentityProvider.hashed_password= \
    --ServerApp.allow_remote_access=True --ServerApp.root_dir="$HOME" --ServerApp.quit_button=False \
    --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.extension_manager=readonly \
    </dev/null >"$HOME/.bastide/jupyter.log" 2>&1 &
