# What the image `postgres` does with POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB: the first start makes them,
# while only a socket answers.
set -eu
data=/var/lib/postgresql/18/docker
if [ ! -f "$data/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --pgdata="$data"
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
  pg_ctl --pgdata="$data" --options="-c listen_addresses= -c unix_socket_directories=/tmp" --wait start
  createdb --host=/tmp --username="$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl --pgdata="$data" --wait stop
fi
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
