# Runs on the managed host, under any POSIX shell, as the executing user:
#
#   run   REMOTE_TMP MODULE ARCH=SHA256...   execs the cached executable on its standard input,
#                                            or prints that it is missing and for which machine
#   store REMOTE_TMP MODULE ARCH=SHA256...   caches the executable that comes on standard input

# Splitting what ls prints into fields is meant:
# shellcheck shell=sh disable=SC2046
set -f
HOME=${HOME:-/nonexistent}
verb=$1 remote_tmp=$2 module=$3
shift 3

arch=$(uname -m)
uid=$(id -u)
sha=
for built; do
    [ "${built%%=*}" = "$arch" ] && sha=${built#*=}
done

# Whoever may write to a directory above the cache could put a program of their own in its place.
trusted() {
    set -- "$1" $(LC_ALL=C ls -ldn "$1/." 2>/dev/null)
    case $2 in
        d????-??-?* | d????????[tT]*) [ "$4" = 0 ] || [ "$4" = "$uid" ] || return ;;
        *) return 1 ;;
    esac
    [ -z "$1" ] || trusted "${1%/*}"
}

# A link would pass for the directory it points to, so this one is not followed.
private() {
    set -- "$1" $(LC_ALL=C ls -ldn "$1" 2>/dev/null)
    case $2 in
        drwx------*) [ "$4" = "$uid" ] && trusted "${1%/*}" ;;
        *) return 1 ;;
    esac
}

set -- "$HOME/.cache/bulkhead" "$remote_tmp/bulkhead-$uid" "/var/tmp/bulkhead-$uid" \
    "/run/user/$uid/bulkhead" "/dev/shm/bulkhead-$uid"

if [ "$verb" = run ]; then
    for dir; do
        [ -x "$dir/$module-$sha" ] && private "$dir" && exec "$dir/$module-$sha"
    done
    echo "BULKHEAD-MISSING $arch"
    exit
fi

umask 077
trusted "$HOME" && mkdir "$HOME/.cache" 2>/dev/null
refused=
for dir; do
    mkdir "$dir" 2>/dev/null
    if ! private "$dir"; then
        refused="$refused $dir (cannot be made, or is not this user's alone);"
        continue
    fi
    new=$dir/.new.$$
    trap 'rm -f "$new"' EXIT
    # The probe is a script: mount options refuse it as they would the executable.
    if ! { printf '#!/bin/sh\n' >"$new" && chmod 700 "$new" && "$new"; } 2>/dev/null; then
        refused="$refused $dir (full, or mounted noexec);"
        rm -f "$new"
        continue
    fi
    if cat >"$new" && [ "$(sha256sum <"$new")" = "$sha  -" ]; then
        # Without this a power cut could leave an empty file under the final name.
        { sync "$new" || sync; } 2>/dev/null
        mv -f "$new" "$dir/$module-$sha"
        exit
    fi
    echo "$dir: the executable did not arrive whole" >&2
    exit 1
done
cat >/dev/null
echo "no directory of user $uid can hold an executable:${refused%;}" >&2
exit 1
