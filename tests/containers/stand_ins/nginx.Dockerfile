# Stands in for nginx:stable: Debian's nginx, configured, logging and stopped as that image is.
FROM hopscope-test/debian:trixie
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /etc/nginx/conf.d/* /etc/nginx/sites-enabled \
    && useradd --system --no-create-home --shell /usr/sbin/nologin nginx \
    && ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
