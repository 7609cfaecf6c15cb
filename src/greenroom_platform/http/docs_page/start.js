// A file of its own: the page's policy runs nothing that is written into the page.
window.addEventListener('DOMContentLoaded', () => {
  SwaggerUIBundle({
    url: '/docs/openapi.json',
    dom_id: '#swagger-container',
    deepLinking: true,
    showExtensions: true,
    showCommonExtensions: true,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
  });
});
