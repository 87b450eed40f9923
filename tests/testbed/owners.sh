#!/bin/sh -eu
# Runs in a test host: fills the new directory $1 with everything that a shift of owners can get wrong.
mkdir "$1"
cd "$1"
for id in 0 5 33 999 65534; do
    mkdir "dir-$id"
    echo "of $id" >"dir-$id/file"
    ln -s "../nowhere/$id" "dir-$id/dangling"
    chown -h "$id:$id" "dir-$id/dangling"
    chown "$id:$id" "dir-$id/file" "dir-$id"
done
echo mixed >mixed-uid-gid && chown 33:999 mixed-uid-gid

cp /bin/true setuid && chown 33:33 setuid && chmod 4755 setuid
cp /bin/true setgid && chown 5:999 setgid && chmod 2755 setgid
cp /bin/true both && chown 999:5 both && chmod 6751 both
mkdir setgid-dir && chown 0:33 setgid-dir && chmod 2775 setgid-dir
mkdir sticky && chmod 1777 sticky

echo acl >acl && chown 33:33 acl && setfacl -m u:5:rw,u:999:r,g:33:rwx,g:65534:r acl
mkdir acl-dir && setfacl -m u:33:rwx acl-dir && setfacl -d -m u:999:rwx,g:5:rx acl-dir

cp /bin/true capable && chown 999:999 capable && setcap cap_net_bind_service,cap_net_raw+ep capable
echo xattr >xattr && setfattr -n user.note -v kept xattr && setfattr -n trusted.note -v kept xattr
setfattr -h -n trusted.note -v link dir-5/dangling

echo linked >hardlink-1 && ln hardlink-1 dir-999/hardlink-2 && chown 999:999 hardlink-1
truncate -s 8M sparse && printf data | dd of=sparse bs=1 seek=4194304 conv=notrunc status=none
mkfifo fifo && chown 5:5 fifo
touch 'new
line' "$(printf 'not-utf8-\377')" && chown 33:33 'new
line'
chmod 0000 dir-5/file
