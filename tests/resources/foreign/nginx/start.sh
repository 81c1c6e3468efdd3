# start.sh NGINX PORT TAG: one nginx in a folder of its own, with what TAG.conf says of it.
set -eu
mkdir -p "run/$2/page"
sed "s/PORT/$2/" "$3.conf" >"run/$2/nginx.conf"
{ echo "served by nginx"; head -c 12000 /dev/zero | tr '\0' x; } >"run/$2/page/page.txt"
exec "$1" -p "run/$2" -c nginx.conf -e stderr -g "daemon off; master_process off; pid nginx.pid;"
